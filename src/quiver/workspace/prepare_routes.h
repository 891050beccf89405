// SPDX-License-Identifier: Apache-2.0
// What routes need beforehand that comes from task data: means, gates, signatures, text profiles, trained routers.
#pragma once

#include "quiver/routing/route_spec.h"
#include "quiver/training/train_options.h"
#include "quiver/workspace/experts.h"
#include "quiver/workspace/tasks.h"

namespace quiver::workspace {

struct PrepareData {
  const LoadedModel& loaded;
  const ExpertSet& experts;
  std::vector<data::Task> tasks;
  training::TrainOptions options;  ///< join, seed, and what training routers reads
  std::int64_t limit = 0;          ///< rows of each task; 0: as many as the route wants
  std::string name;                ///< of a trained router; empty: the route's
  Progress& progress;
  bool again = false;  ///< compute what was made with the same options too: its rows may have changed
};

/// What a preparation leaves in the library.
enum class Leaves {
  signatures,   ///< shared by routes; training an expert leaves its own
  expert_data,  ///< of each expert
  router,       ///< under a name
};

struct PrepareHelp {
  std::string route;
  std::string settings;            ///< as they are typed: `token=last|mean,base_only=true|false`
  std::vector<std::string> reads;  ///< of name, replace, again, seed, epochs, max_steps, batch
  Leaves leaves = Leaves::router;
  bool prompts_alone = false;  ///< no answers, so that --examples will do

  /// The name of what it leaves, where none is given.
  std::string kept() const { return leaves == Leaves::signatures ? "signatures" : route; }
  /// True where how texts are joined matters.
  bool joins() const { return route != "text"; }
};
/// Every route that is prepared from task data.
const std::vector<PrepareHelp>& prepare_table();
/// Null where the route is not prepared from task data.
const PrepareHelp* preparation_help(const std::string& route);

/// Throws Error{usage} where `prepare --route` does not take the spec; needs no library and no tasks.
void check_preparation(const routing::RouteSpec& spec);

/// Throws Error{usage} where the router that it leaves would be called as a route is, or an expert of the library, or a
/// router that `prepare` did not make of this route; the last not where it may be replaced. name: of the router, empty:
/// the route's.
void check_free(const routing::RouteSpec& spec, const library::Library& library, const std::string& name, bool replace);

/// Computes what the route needs, which is one of prepare_table, and keeps it in the library. Returns the figures for
/// --json. Throws Error{usage} where an expert's tasks are not among those given.
nlohmann::json prepare_from_tasks(const routing::RouteSpec& spec, const PrepareData& data);

}  // namespace quiver::workspace
