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
  std::vector<std::int32_t> context;  ///< what the answer's stack reads: prompt and answer so far, or start and answer
  std::size_t prompt_tokens = 0;      ///< those of the context that are not the answer's
  std::size_t fed = 0;                ///< tokens of the context that the cache holds
  RowCache cache;
  Random random{0};
  bool unread = false;  ///< its prompt is still to be encoded
  bool done = false;

  /// Its keys and values are given back at once: a waiting request takes its place.
  void end() {
    done = true;
    cache = {};
  }
};

/// A pass: the requests in it, each with tokens that its cache does not hold yet.
struct Pass {
  std::vector<std::size_t> requests;
  std::vector<std::int64_t> tokens;
};

/// Rows that answer go first with their one token; prompts share what is left of the pass, in their order.
Pass next_pass(const std::vector<Request>& requests, const GenerateOptions& options) {
  Pass pass;
  std::int64_t open = 0, room = options.pass_tokens;
  std::vector<std::size_t> reading;
  for (std::size_t i = 0; i < requests.size() && open < options.open_rows; ++i) {
    const auto& r = requests[i];
    if (r.done) continue;
    ++open;
    if (r.unread) continue;
    if (r.fed < r.prompt_tokens) {
      reading.push_back(i);
    } else {
      pass.requests.push_back(i);
      pass.tokens.push_back(1);
      --room;
    }
  }
  for (const auto i : reading) {
    const auto wanted = static_cast<std::int64_t>(requests[i].context.size() - requests[i].fed);
    const auto granted = std::min(wanted, pass.requests.empty() ? std::max<std::int64_t>(room, 1) : room);
    if (granted <= 0) break;
    pass.requests.push_back(i);
    pass.tokens.push_back(granted);
    room -= granted;
  }
  return pass;
}

/// Runs the pass; logits [N, V] of the last token of each request that has been read to its end, named in `ready`.
at::Tensor run(const Model& model, std::vector<Request>& requests, const Pass& pass, const BindExperts& bind,
               std::vector<std::size_t>& ready) {
  std::vector<RowInput> rows;
  std::vector<std::int64_t> last;
  std::int64_t end = 0;
  for (std::size_t p = 0; p < pass.requests.size(); ++p) {
    auto& r = requests[pass.requests[p]];
    const auto count = static_cast<std::size_t>(pass.tokens[p]);
    rows.push_back({std::span(r.context).subspan(r.fed, count), &r.cache, true});
    const bool starts = r.fed == 0 && !model.config().encoder_decoder();
    if (starts) rows.back().soft = bind.soft_prompt(pass.requests[p]);
    r.fed += count;
    end += pass.tokens[p] + (rows.back().soft.defined() ? rows.back().soft.size(0) : 0);
    if (r.fed < r.context.size()) continue;
    ready.push_back(pass.requests[p]);
    last.push_back(end - 1);
  }
  const auto batch = pack(rows, model.config().encoder_decoder() ? Part::answer : Part::prompt);
  const auto experts = bind(batch, pass.requests);
  const auto hidden = model.forward(batch, experts.get());
  if (last.empty()) return {};
  return model.logits(at::index_select(hidden, 0, at::tensor(last, at::kLong))).contiguous();
}

/// Encoder-decoders: reads the prompts of requests about to open, as many as a pass may hold and at least one. From
/// then on each is a request whose whole prompt is the token that answers start with.
void encode_next(const Model& model, std::vector<Request>& requests, const GenerateOptions& options,
                 const BindExperts& bind) {
  std::int64_t open = 0, tokens = 0;
  std::vector<std::size_t> chosen;
  for (std::size_t i = 0; i < requests.size() && open < options.open_rows; ++i) {
    const auto& r = requests[i];
    if (r.done) continue;
    ++open;
    if (!r.unread) continue;
    const auto own = static_cast<std::int64_t>(r.context.size());
    if (!chosen.empty() && tokens + own > options.pass_tokens) break;
    tokens += own;
    chosen.push_back(i);
  }
  if (chosen.empty()) return;
  std::vector<RowInput> rows;
  for (const auto i : chosen) rows.push_back({requests[i].context, &requests[i].cache, true, bind.soft_prompt(i)});
  const auto batch = pack(rows);
  const auto experts = bind(batch, chosen);
  model.forward(batch, experts.get());
  for (const auto i : chosen) {
    requests[i].unread = false;
    requests[i].context = {model.config().answer_start};
    requests[i].prompt_tokens = 1;
  }
}

}  // namespace

std::vector<std::vector<std::int32_t>> generate(const Model& model,
                                                const std::vector<std::vector<std::int32_t>>& prompts,
                                                const GenerateOptions& options, const BindExperts& bind,
                                                const OnToken& on_token) {
  check(options.sampling);
  QUIVER_CHECK(options.open_rows >= 1 && options.pass_tokens >= 1, usage, "generate",
               "{} rows at once and {} tokens a pass, expected at least 1", options.open_rows, options.pass_tokens);
  const c10::AutoGradMode no_gradient(false);
  std::vector<Request> requests(prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    requests[i].context = prompts[i];
    requests[i].prompt_tokens = prompts[i].size();
    requests[i].random = Random(derive_seed(options.seed, i));
    requests[i].unread = model.config().encoder_decoder();
    requests[i].done = options.max_new_tokens <= 0;
  }
  const auto next = [&] {
    if (model.config().encoder_decoder()) encode_next(model, requests, options, bind);
    return next_pass(requests, options);
  };
  for (auto pass = next(); !pass.requests.empty(); pass = next()) {
    std::vector<std::size_t> ready;
    auto logits = run(model, requests, pass, bind, ready);
    for (std::size_t row = 0; row < ready.size(); ++row) {
      auto& r = requests[ready[row]];
      const auto vocabulary = static_cast<std::size_t>(logits.size(1));
      const std::span<float> own(logits.data_ptr<float>() + row * vocabulary, vocabulary);
      const auto token = sample(own, r.context, options.sampling, r.random);
      const auto& stops = options.stop_tokens;
      if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
        r.end();
        continue;
      }
      r.context.push_back(token);
      const bool go_on = !on_token || on_token(ready[row], token);
      const auto made = static_cast<std::int64_t>(r.context.size() - r.prompt_tokens);
      const auto room = model.config().max_positions - static_cast<std::int64_t>(r.context.size());
      if (!go_on || made >= options.max_new_tokens || room < 0) r.end();
    }
  }
  std::vector<std::vector<std::int32_t>> answers;
  for (const auto& r : requests)
    answers.emplace_back(r.context.begin() + static_cast<std::ptrdiff_t>(r.prompt_tokens), r.context.end());
  return answers;
}

}  // namespace quiver::model
