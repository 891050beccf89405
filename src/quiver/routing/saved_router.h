// SPDX-License-Identifier: Apache-2.0
// Trained routers, kept in the library and applied by name.
//
//   routers/NAME/router.json           {"format": 1, "kind": "...", "experts": [["NAME", "IDENTITY"], ...],
//                                       "options": {...}, "training": {...}}
//   routers/NAME/router.safetensors    the tensors of its kind
//
// A router belongs to the experts it was trained over: where one of them has changed or is missing, it is refused.
#pragma once

#include <map>
#include <nlohmann/json.hpp>

#include "quiver/library/library.h"
#include "quiver/tensor_io/tensor_source.h"

namespace quiver::routing {

struct SavedRouter {
  std::string name, kind;
  std::vector<std::string> experts;  ///< in the order that its tensors speak of; empty: it needs none
  nlohmann::json options, training;
  std::map<std::string, at::Tensor> tensors;
};

void save_router(const library::Library& library, const SavedRouter& router);
bool has_router(const library::Library& library, const std::string& name);
std::vector<std::string> router_names(const library::Library& library);
/// Throws Error{usage} with the nearest name, Error{mismatch} where experts have changed, Error{format} where the files
/// are damaged.
SavedRouter read_router(const library::Library& library, const std::string& name);

}  // namespace quiver::routing
