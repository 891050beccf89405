// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/joined_source.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace quiver::routing {
namespace {

/// The mix of some tokens as one of all: they begin at `begin`.
std::shared_ptr<const ops::Mix> among(const ops::Mix& mix, std::int64_t begin, std::int64_t tokens) {
  auto out = std::make_shared<ops::Mix>(mix);
  out->tokens = tokens;
  for (auto& group : out->groups) {
    if (group.first_token >= 0) group.first_token += begin;
  }
  if (out->tokens_of_entries.defined()) out->tokens_of_entries = out->tokens_of_entries + begin;
  return out;
}

}  // namespace

model::PackedBatch rows_of(const model::PackedBatch& batch, std::size_t first, std::size_t count) {
  model::PackedBatch out;
  const auto begin = batch.rows.at(first).begin;
  const auto& last = batch.rows.at(first + count - 1);
  const auto tokens = last.begin + last.count - begin;
  out.ids = batch.ids.narrow(0, begin, tokens);
  out.positions = batch.positions.narrow(0, begin, tokens);
  out.part = batch.part;
  for (std::size_t r = first; r < first + count; ++r) {
    out.rows.push_back(batch.rows[r]);
    out.rows.back().begin -= begin;
  }
  return out;
}

void JoinedSource::add(std::unique_ptr<model::PackedBatch> batch, std::unique_ptr<model::ExpertSource> source) {
  const auto begin = parts_.empty() ? 0 : parts_.back().begin + parts_.back().tokens();
  parts_.push_back({begin, std::move(batch), std::move(source)});
}

std::vector<ops::SiteUse> JoinedSource::at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) {
  std::vector<ops::SiteUse> out;
  for (const auto& part : parts_) {
    if (!part.source) continue;
    std::map<const ops::Mix*, std::shared_ptr<const ops::Mix>> lifted;  // sites often share one
    for (auto& use : part.source->at(sites, x.narrow(0, part.begin, part.tokens()))) {
      auto& mix = lifted[use.mix.get()];
      if (!mix) mix = among(*use.mix, part.begin, x.size(0));
      if (use.block_input.defined()) {
        auto all = at::zeros({x.size(0), use.block_input.size(1)}, use.block_input.options());
        all.narrow(0, part.begin, part.tokens()).copy_(use.block_input);
        use.block_input = all;
      }
      use.mix = mix;
      out.push_back(std::move(use));
    }
  }
  return out;
}

at::Tensor JoinedSource::finish(const std::vector<model::SiteColumns>& sites, const at::Tensor& x, at::Tensor y) {
  for (const auto& part : parts_) {
    if (!part.source) continue;
    const auto own = y.narrow(0, part.begin, part.tokens());
    const auto out = part.source->finish(sites, x.narrow(0, part.begin, part.tokens()), own);
    if (!out.is_same(own)) own.copy_(out);
  }
  return y;
}

at::Tensor JoinedSource::norm(std::int64_t number, const at::Tensor& weight) {
  std::vector<at::Tensor> all;
  bool changed = false;
  for (const auto& part : parts_) {
    all.push_back(part.source ? part.source->norm(number, weight) : weight);
    changed |= !all.back().is_same(weight);
  }
  if (!changed) return weight;
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = all[i].expand({parts_[i].tokens(), weight.size(0)});
  return at::cat(all, 0);
}

void JoinedSource::keys_values(std::int64_t layer, at::Tensor& keys, at::Tensor& values) {
  for (const auto& part : parts_) {
    if (!part.source) continue;
    const auto own_keys = keys.narrow(0, part.begin, part.tokens());
    const auto own_values = values.narrow(0, part.begin, part.tokens());
    auto new_keys = own_keys, new_values = own_values;
    part.source->keys_values(layer, new_keys, new_values);
    if (!new_keys.is_same(own_keys)) own_keys.copy_(new_keys);
    if (!new_values.is_same(own_values)) own_values.copy_(new_values);
  }
}

at::Tensor JoinedSource::before_answer(std::size_t row) {
  for (const auto& part : parts_) {
    const auto rows = part.batch->rows.size();
    if (row < rows) return part.source ? part.source->before_answer(row) : at::Tensor();
    row -= rows;
  }
  return {};
}

}  // namespace quiver::routing
