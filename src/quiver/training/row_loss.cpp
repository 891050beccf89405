// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/row_loss.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>

#include "quiver/ops/cross_entropy.h"

namespace quiver::training {

model::PackedBatch pack_rows(const std::vector<WeightedRow>& rows) {
  std::vector<model::RowInput> inputs;
  // The last token predicts nothing, so it is not fed.
  for (const auto& r : rows) inputs.push_back({std::span(r.row->ids).first(r.row->ids.size() - 1), nullptr, true});
  return model::pack(inputs);
}

at::Tensor weighted_loss(const model::LanguageModel& model, const at::Tensor& hidden,
                         const std::vector<WeightedRow>& rows) {
  std::vector<std::int64_t> positions, labels;
  std::vector<float> weights;
  std::int64_t begin = 0;
  for (const auto& r : rows) {
    for (std::size_t t = static_cast<std::size_t>(r.row->target_begin); t < r.row->ids.size(); ++t) {
      positions.push_back(begin + static_cast<std::int64_t>(t) - 1);
      labels.push_back(r.row->ids[t]);
      weights.push_back(static_cast<float>(r.token_weight));
    }
    begin += static_cast<std::int64_t>(r.row->ids.size()) - 1;
  }
  const auto chosen = at::index_select(hidden, 0, at::tensor(positions, at::kLong));
  return ops::head_cross_entropy(chosen, model.head(), at::tensor(labels, at::kLong), at::tensor(weights, at::kFloat));
}

std::vector<std::vector<WeightedRow>> portions(const std::vector<WeightedRow>& rows, std::int64_t micro_tokens) {
  std::vector<std::vector<WeightedRow>> out;
  std::int64_t tokens = micro_tokens;
  for (const auto& row : rows) {
    const auto own = static_cast<std::int64_t>(row.row->ids.size());
    if (tokens + own > micro_tokens) {
      out.emplace_back();
      tokens = 0;
    }
    out.back().push_back(row);
    tokens += own;
  }
  return out;
}

}  // namespace quiver::training
