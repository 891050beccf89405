// SPDX-License-Identifier: Apache-2.0
// MoA on disk: its classifiers as a saved router, and the states they were fitted on, a file per expert, so that a
// domain added or trained again touches nothing of the others.
//
//   routers/NAME/router.safetensors                     PLACE.mean, PLACE.deviation, PLACE.N.weight, PLACE.N.bias
//   derived/moa-PLACES-POOLING[-forced]/EXPERT-IDENTITY  PLACE float16 [N, F]
#pragma once

#include <optional>

#include "quiver/routing/request/moa_router.h"
#include "quiver/routing/saved_router.h"

namespace quiver::routing {

SavedRouter save_moa(const std::string& name, const std::vector<std::string>& experts, const MoaShape& shape,
                     const Classifiers& classifiers);
/// Throws Error{format} where tensors are missing or do not fit.
Classifiers read_moa(const SavedRouter& saved, MoaShape& shape);

std::optional<PlaceStates> read_moa_features(const library::Library& library, const MoaShape& shape,
                                             const std::string& expert);
void write_moa_features(const library::Library& library, const MoaShape& shape, const std::string& expert,
                        const PlaceStates& states);

}  // namespace quiver::routing
