// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/row_loss.h"

#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <limits>

#include "quiver/ops/cross_entropy.h"

namespace quiver::training {

std::int64_t target_tokens(const data::TokenRow& row) {
  return static_cast<std::int64_t>(row.ids.size()) - row.target_begin;
}

double weighted_targets(const std::vector<WeightedRow>& rows) {
  double sum = 0.0;
  for (const auto& r : rows) sum += r.row->weight * static_cast<double>(target_tokens(*r.row));
  return sum;
}

std::vector<model::AnswerRow> answer_rows(const std::vector<WeightedRow>& rows) {
  std::vector<model::AnswerRow> out;
  for (const auto& r : rows) {
    const std::span<const std::int32_t> ids(r.row->ids);
    const auto border = static_cast<std::size_t>(r.row->target_begin);
    out.push_back({ids.first(border), ids.subspan(border)});
  }
  return out;
}

at::Tensor weighted_loss(const model::Model& model, const at::Tensor& hidden, const std::vector<WeightedRow>& rows) {
  std::vector<std::int64_t> labels;
  std::vector<float> weights;
  for (const auto& r : rows) {
    labels.insert(labels.end(), r.row->ids.begin() + r.row->target_begin, r.row->ids.end());
    weights.resize(labels.size(), static_cast<float>(r.token_weight));
  }
  return ops::head_cross_entropy(hidden, model.head(), at::tensor(labels, at::kLong), at::tensor(weights, at::kFloat));
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

double mean_loss(const model::Model& model, const std::vector<WeightedRow>& rows, const BindRows& bind,
                 const RowsDone& done) {
  constexpr std::int64_t kPortion_tokens = 2048;
  const c10::AutoGradMode no_gradient(false);
  const double all = weighted_targets(rows);
  if (!(all > 0)) return std::numeric_limits<double>::quiet_NaN();
  std::vector<WeightedRow> counted;
  for (const auto& r : rows) {
    if (r.row->weight == 0) continue;
    counted.push_back(r);
    counted.back().token_weight = r.row->weight;
  }
  double sum = 0.0;
  std::size_t computed = 0;
  for (const auto& portion : portions(counted, kPortion_tokens)) {
    const auto pass = model::answer_pass(model, answer_rows(portion), bind ? bind(portion) : model::BindExperts());
    sum += weighted_loss(model, pass.hidden, portion).item<double>();
    computed += portion.size();
    if (done) done(computed, counted.size());
  }
  return sum / all;
}

}  // namespace quiver::training
