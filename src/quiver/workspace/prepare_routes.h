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

struct PrepareHelp {
  std::string route;
  std::string settings;            ///< as they are typed: `token=last|mean,base_only=true|false`
  std::vector<std::string> reads;  ///< of name, again, seed, epochs, max_steps, batch
};
/// Every route that is prepared from task data.
std::vector<PrepareHelp> prepare_table();

/// True where the route is prepared from task data.
bool prepared_from_tasks(const std::string& route);

/// Throws Error{usage} where `prepare --route` does not take the spec; needs no library and no tasks.
void check_preparation(const routing::RouteSpec& spec);

/// Computes what the route needs and keeps it in the library. Returns the figures for --json. Throws Error{usage} where
/// an expert's tasks are not among those given.
nlohmann::json prepare_from_tasks(const routing::RouteSpec& spec, const PrepareData& data);

}  // namespace quiver::workspace
