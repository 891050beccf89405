// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/generate.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "quiver/base/error.h"

namespace quiver::model {
namespace {

/// One prompt on its way to an answer.
struct Request {
  std::vector<std::int32_t> context;  ///< prompt and answer so far
  std::size_t prompt_tokens = 0;
  std::size_t fed = 0;  ///< tokens of the context that the cache holds
  RowCache cache;
  Random random{0};
  bool done = false;
};

/// Feeds what each open request has not yet fed; logits of each one's last token, [open, V].
at::Tensor step(const LanguageModel& model, std::vector<Request>& requests, const std::vector<std::size_t>& open,
                const BindExperts& bind) {
  std::vector<RowInput> rows;
  for (const auto i : open) {
    auto& r = requests[i];
    rows.push_back({std::span(r.context).subspan(r.fed), &r.cache, true});
    r.fed = r.context.size();
  }
  const auto batch = pack(rows);
  const auto experts = bind ? bind(batch, open) : nullptr;
  const auto hidden = model.forward(batch, experts.get());
  std::vector<std::int64_t> last;
  for (const auto& row : batch.rows) last.push_back(row.begin + row.count - 1);
  return model.logits(at::index_select(hidden, 0, at::tensor(last, at::kLong))).contiguous();
}

}  // namespace

std::vector<std::vector<std::int32_t>> generate(const LanguageModel& model,
                                                const std::vector<std::vector<std::int32_t>>& prompts,
                                                const GenerateOptions& options, const BindExperts& bind,
                                                const OnToken& on_token) {
  check(options.sampling);
  const c10::AutoGradMode no_gradient(false);
  std::vector<Request> requests(prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    requests[i].context = prompts[i];
    requests[i].prompt_tokens = prompts[i].size();
    requests[i].random = Random(derive_seed(options.seed, i));
    requests[i].done = options.max_new_tokens <= 0;
  }
  for (;;) {
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (!requests[i].done) open.push_back(i);
    }
    if (open.empty()) break;
    auto logits = step(model, requests, open, bind);
    for (std::size_t row = 0; row < open.size(); ++row) {
      auto& r = requests[open[row]];
      const auto vocabulary = static_cast<std::size_t>(logits.size(1));
      const std::span<float> own(logits.data_ptr<float>() + row * vocabulary, vocabulary);
      const auto token = sample(own, r.context, options.sampling, r.random);
      const auto& stops = options.stop_tokens;
      if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
        r.done = true;
        continue;
      }
      r.context.push_back(token);
      const bool go_on = !on_token || on_token(open[row], token);
      const auto made = static_cast<std::int64_t>(r.context.size() - r.prompt_tokens);
      const auto room = model.config().max_positions - static_cast<std::int64_t>(r.context.size());
      r.done = !go_on || made >= options.max_new_tokens || room < 0;
    }
  }
  std::vector<std::vector<std::int32_t>> answers;
  for (const auto& r : requests)
    answers.emplace_back(r.context.begin() + static_cast<std::ptrdiff_t>(r.prompt_tokens), r.context.end());
  return answers;
}

}  // namespace quiver::model
