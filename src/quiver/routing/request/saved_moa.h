// SPDX-License-Identifier: Apache-2.0
// MoA on disk: its classifiers as a saved router, and the states they were fitted on, a file per expert, so that a
// domain added or trained again touches nothing of the others.
//
//   routers/NAME/router.safetensors                     PLACE.mean, PLACE.deviation, PLACE.N.weight, PLACE.N.bias
//   derived/moa-PLACES-POOLING[-forced]/EXPERT-IDENTITY  PLACE float32 [N, F], exactly the states of a prompt in use;
//                                                        made_with: a hash of the prompts
#pragma once

#include <optional>

#include "quiver/routing/expert_files.h"
#include "quiver/routing/request/moa_router.h"
#include "quiver/routing/saved_router.h"

namespace quiver::routing {

SavedRouter save_moa(const std::string& name, const std::vector<std::string>& experts, const MoaShape& shape,
                     const Classifiers& classifiers);
/// Throws Error{format} where tensors are missing or do not fit.
Classifiers read_moa(const SavedRouter& saved, MoaShape& shape);

/// What the shape's states are kept under.
DerivedKind moa_states_kind(const MoaShape& shape);
/// Kept states; nothing where there are none, or, where options are given, none that were made with them.
std::optional<PlaceStates> read_moa_features(const ExpertFiles& files, std::size_t expert,
                                             const std::optional<std::string>& made_with = {});
void write_moa_features(const ExpertFiles& files, std::size_t expert, const PlaceStates& states,
                        const std::string& made_with);

}  // namespace quiver::routing
