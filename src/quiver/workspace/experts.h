// SPDX-License-Identifier: Apache-2.0
// Experts by the names that a user gives, and the routes over them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "quiver/adapter/bank.h"
#include "quiver/base/progress.h"
#include "quiver/library/library.h"
#include "quiver/routing/router.h"
#include "quiver/workspace/open_model.h"

namespace quiver::workspace {

/// Where experts come from.
struct ExpertOptions {
  std::string library;                ///< the folder of a library
  std::vector<std::string> adapters;  ///< PEFT folders, or NAME=DIR; an expert's name is else that of its folder
  std::vector<std::string> experts;   ///< only these of the library; empty: all
  bool allow_other_base = false;      ///< use experts that were trained on another base model
};

/// A bank of the experts asked for, and all that routers need.
struct ExpertSet {
  std::shared_ptr<adapter::Bank> bank;
  std::shared_ptr<const library::Library> library;  ///< null: adapters alone
  routing::RouterInputs inputs;
  std::vector<nlohmann::json> training;  ///< how each was trained, as expert.json has it; null where nothing is known
  const std::vector<std::string>& names() const { return bank->names(); }
};
/// What lies in the library and is no expert is said once. Throws Error{usage} where an expert is asked for twice or
/// two experts have one name, Error{format} naming an expert that holds numbers which are not finite.
ExpertSet load_experts(const ExpertOptions& options, const model::Model& model, Progress& progress);
/// The same for routers that also read text.
ExpertSet load_experts(const ExpertOptions& options, const LoadedModel& loaded, Progress& progress);
/// Throws Error{usage} at `option` where a name stands twice.
void refuse_twice(const std::vector<std::string>& names, const std::string& option);
/// For a library auto where its experts have signatures, else arrow, which is said where some have one; the adapter
/// where one is given; base otherwise.
std::string natural_route(const ExpertOptions& options, const ExpertSet& experts);
/// What it computes on the way and cannot keep, in a library that may not be written, is said once.
std::unique_ptr<routing::Router> make_router(const std::string& route, const ExpertSet& experts);

/// Experts and the one route over them, for work that applies a single route.
struct RouteOptions {
  ExpertOptions experts;
  std::string route;  ///< empty: the natural one
  std::string task;   ///< of the text at hand, for oracle
};

struct RoutedExperts {
  ExpertSet experts;
  std::string route;
  std::unique_ptr<routing::Router> router;
};
RoutedExperts load_routed(const RouteOptions& options, const model::Model& model, Progress& progress);
RoutedExperts load_routed(const RouteOptions& options, const LoadedModel& loaded, Progress& progress);

}  // namespace quiver::workspace
