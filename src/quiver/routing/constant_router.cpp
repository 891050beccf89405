// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/constant_router.h"

#include <algorithm>

#include "quiver/base/error.h"

namespace quiver::routing {

std::vector<std::vector<ops::ExpertWeight>> OracleRouter::choose(const std::vector<Request>& requests) const {
  std::vector<std::vector<ops::ExpertWeight>> chosen;
  for (const auto& request : requests) {
    std::vector<ops::ExpertWeight> own;
    for (std::size_t e = 0; e < expert_tasks_.size(); ++e) {
      const auto& tasks = expert_tasks_[e];
      if (std::find(tasks.begin(), tasks.end(), request.task) != tasks.end())
        own.emplace_back(static_cast<std::int64_t>(e), 1.0f);
    }
    QUIVER_CHECK(!request.task.empty(), usage, "--route oracle", "the text's task is not known; give --task-name");
    QUIVER_CHECK(!own.empty(), usage, "--route oracle", "no expert was trained on task '{}'", request.task);
    for (auto& [expert, weight] : own) weight = 1.0f / static_cast<float>(own.size());
    chosen.push_back(std::move(own));
  }
  return chosen;
}

}  // namespace quiver::routing
