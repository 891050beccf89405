// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/answer_pass.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include <numeric>

namespace quiver::model {
namespace {

std::vector<std::size_t> all_requests(std::size_t count) {
  std::vector<std::size_t> out(count);
  std::iota(out.begin(), out.end(), std::size_t{0});
  return out;
}

/// Final states of a batch, which `pass` keeps.
at::Tensor run(const Model& model, const std::vector<RowInput>& rows, Part part, const BindExperts& bind,
               Activations activations, AnswerPass& pass) {
  pass.batches.push_back(std::make_unique<PackedBatch>(pack(rows, part)));
  const auto& batch = *pass.batches.back();
  pass.experts.push_back(bind(batch, all_requests(rows.size())));
  return model.forward(batch, pass.experts.back().get(), activations);
}

/// Prompt and answer in one row, less the last token, which predicts nothing.
at::Tensor one_stack(const Model& model, const std::vector<AnswerRow>& rows, const BindExperts& bind,
                     Activations activations, AnswerPass& pass) {
  std::vector<std::vector<std::int32_t>> ids;
  for (const auto& row : rows) {
    auto& own = ids.emplace_back(row.prompt.begin(), row.prompt.end());
    own.insert(own.end(), row.answer.begin(), row.answer.end() - 1);
  }
  std::vector<RowInput> inputs;
  for (std::size_t i = 0; i < ids.size(); ++i) inputs.push_back({ids[i], nullptr, true, bind.soft_prompt(i)});
  const auto hidden = run(model, inputs, Part::prompt, bind, activations, pass);
  std::vector<std::int64_t> predicting;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto& row = pass.batches[0]->rows[i];
    const auto answer = static_cast<std::int64_t>(rows[i].answer.size());
    for (std::int64_t t = answer; t > 0; --t) predicting.push_back(row.begin + row.count - t);
  }
  return at::index_select(hidden, 0, at::tensor(predicting, at::kLong));
}

at::Tensor two_stacks(const Model& model, const std::vector<AnswerRow>& rows, const BindExperts& bind,
                      Activations activations, AnswerPass& pass) {
  std::vector<RowCache> caches(rows.size());
  std::vector<RowInput> prompts, answers;
  std::vector<std::vector<std::int32_t>> ids;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    prompts.push_back({rows[i].prompt, &caches[i], true, bind.soft_prompt(i)});
    auto& own = ids.emplace_back(1, model.config().answer_start);
    own.insert(own.end(), rows[i].answer.begin(), rows[i].answer.end() - 1);
  }
  run(model, prompts, Part::prompt, bind, activations, pass);
  for (std::size_t i = 0; i < rows.size(); ++i) answers.push_back({ids[i], &caches[i], false});
  const auto hidden = run(model, answers, Part::answer, bind, activations, pass);
  for (const auto& batch : pass.batches) {
    for (auto& row : batch->rows) row.cache = nullptr;  // theirs end here
  }
  return hidden;
}

}  // namespace

AnswerPass answer_pass(const Model& model, const std::vector<AnswerRow>& rows, const BindExperts& bind,
                       Activations activations) {
  AnswerPass pass;
  const auto stacks = model.config().encoder_decoder() ? two_stacks : one_stack;
  pass.hidden = stacks(model, rows, bind, activations, pass);
  return pass;
}

at::Tensor read_prompts(const Model& model, const std::vector<std::span<const std::int32_t>>& prompts,
                        std::vector<RowCache>& caches, const BindExperts& bind) {
  AnswerPass pass;
  std::vector<RowInput> rows, starts;
  for (std::size_t i = 0; i < prompts.size(); ++i) rows.push_back({prompts[i], &caches[i], true, bind.soft_prompt(i)});
  auto hidden = run(model, rows, Part::prompt, bind, Activations::keep, pass);
  if (model.config().encoder_decoder()) {
    const std::vector<std::int32_t> start{model.config().answer_start};
    for (auto& cache : caches) starts.push_back({start, &cache, true});
    return run(model, starts, Part::answer, bind, Activations::keep, pass);
  }
  std::vector<std::int64_t> last;
  for (const auto& row : pass.batches[0]->rows) last.push_back(row.begin + row.count - 1);
  return at::index_select(hidden, 0, at::tensor(last, at::kLong));
}

}  // namespace quiver::model
