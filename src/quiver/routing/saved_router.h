// SPDX-License-Identifier: Apache-2.0
// Trained routers, kept in the library and applied by name.
//
//   routers/NAME/router.json           {"format": 1, "kind": "...", "version": of the kind, 1 where it is missing,
//                                       "experts": [["NAME", "IDENTITY"], ...], "options": {...}, "training": {...}}
//   routers/NAME/router.safetensors    the tensors of its kind
//
// A router belongs to the experts it was trained over: where one of them has changed or is missing, it is refused. So
// is one that an earlier version of its method trained, which would give other results.
#pragma once

#include <map>
#include <nlohmann/json.hpp>

#include "quiver/base/options.h"
#include "quiver/library/library.h"
#include "quiver/tensor_io/tensor_source.h"

namespace quiver::routing {

/// Of MoA's method, raised when it gives other results: of its route, its routers and the states they are fitted on.
inline constexpr int kMoaVersion = 2;

struct SavedRouter {
  std::string name, kind;
  std::vector<std::string> experts;  ///< in the order that its tensors speak of; empty: it needs none
  nlohmann::json options, training;
  std::map<std::string, at::Tensor> tensors;
  std::vector<std::string> identities;  ///< of the experts, as the bytes were loaded that it was trained over

  /// For messages.
  std::string where() const { return "router " + name; }
  bool has(const std::string& key) const { return tensors.contains(key); }
  /// A tensor as float32. -1 in `shape`: of any size. Throws Error{format} where it is missing or has another shape.
  at::Tensor tensor(const std::string& key, at::IntArrayRef shape) const;
  /// The same; undefined where it is missing.
  at::Tensor find(const std::string& key, at::IntArrayRef shape) const;
  /// Gives the described options the values that are saved; those that are not keep theirs. A choice may be saved by
  /// its number. Throws Error{format} on a value out of range and on an option that is not described.
  void read_options(OptionSet& set) const;
  /// One option that has no description. Throws Error{format} where it is missing or of another type.
  template <typename T>
  T option(const std::string& key) const {
    try {
      return options.at(key).get<T>();
    } catch (const nlohmann::json::exception& error) {
      refuse_option(key, error.what());
    }
  }

 private:
  [[noreturn]] void refuse_option(const std::string& key, const std::string& why) const;
};

/// Throws Error{mismatch} where its experts have not an identity each.
void save_router(const library::Library& library, const SavedRouter& router);
bool has_router(const library::Library& library, const std::string& name);
/// How it was made, as it says itself, whether or not it can be applied; null where that cannot be read.
nlohmann::json training_of(const library::Library& library, const std::string& name);
std::vector<std::string> router_names(const library::Library& library);
/// Throws Error{usage} with the nearest name, Error{mismatch} where experts have changed, Error{format} where the files
/// are damaged.
SavedRouter read_router(const library::Library& library, const std::string& name);

}  // namespace quiver::routing
