// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/prompt_passes.h"

#include <c10/core/GradMode.h>

#include "quiver/base/error.h"

namespace quiver::routing {

void for_passes(const std::vector<std::vector<std::int32_t>>& prompts,
                const std::function<void(std::size_t, const model::PackedBatch&)>& run) {
  constexpr std::size_t kPass_tokens = 2048;
  const c10::AutoGradMode no_gradient(false);
  for (std::size_t begin = 0, end = 0; begin < prompts.size(); begin = end) {
    std::vector<model::RowInput> rows;
    std::size_t tokens = 0;
    for (end = begin; end < prompts.size() && (end == begin || tokens + prompts[end].size() <= kPass_tokens); ++end) {
      QUIVER_CHECK(!prompts[end].empty(), usage, "router", "a request without a prompt cannot be routed by it");
      rows.push_back({prompts[end], nullptr, true});
      tokens += prompts[end].size();
    }
    run(begin, model::pack(rows));
  }
}

}  // namespace quiver::routing
