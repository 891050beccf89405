// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/token/grouped_scores.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/nonzero.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/ops/transformer_ops.h"

namespace quiver::routing {
namespace {

at::Tensor unit_rows(const at::Tensor& rows) { return rows / rows.norm(2, {1}, true).clamp_min(1e-12); }

/// The group of each direction, int64 [E], and the centres. A centre is the mean of its members, their signs turned to
/// agree with it.
std::pair<at::Tensor, at::Tensor> group(const at::Tensor& directions, std::int64_t groups) {
  constexpr int kSteps = 5;
  const auto rows = unit_rows(directions);
  const auto start = (at::arange(groups, at::kLong) * rows.size(0)).floor_divide(groups);
  auto centres = rows.index_select(0, start);
  at::Tensor nearest;
  for (int step = 0; step < kSteps; ++step) {
    const auto cosine = at::mm(rows, centres.t());
    nearest = cosine.abs().argmax(1);
    const auto sign = cosine.gather(1, nearest.unsqueeze(1)).sign();
    const auto sums = at::zeros_like(centres).index_add_(0, nearest, rows * sign);
    const auto empty = sums.norm(2, {1}, true).lt(1e-9);
    centres = unit_rows(sums).where(empty.logical_not(), centres);
  }
  return {nearest, centres};
}

}  // namespace

void describe(GroupOptions& o, OptionSet& set) {
  set.integer("groups", o.groups, at_least(1), "groups of experts").word("root", 0);
  set.integer("probes", o.probes, at_least(1), "groups looked at for a token; more cost more and lose less");
}

GroupedScores::GroupedScores(const SiteTable& table, std::int64_t experts, const std::vector<model::Site>& sites,
                             const GroupOptions& options)
    : experts_(experts), probes_(options.probes) {
  const auto root = static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(experts))));
  const auto groups = std::min(experts, options.groups > 0 ? options.groups : root);
  QUIVER_CHECK(table.rows() == experts, usage, "search=groups", "needs one direction per expert, there are {}",
               table.rows() / std::max<std::int64_t>(1, experts));
  QUIVER_CHECK(probes_ >= 1, usage, "search=groups", "probes={}, expected at least 1", probes_);
  for (std::size_t s = 0; s < sites.size(); ++s) {
    const auto directions = table.site(static_cast<std::int64_t>(s));
    const auto [nearest, centres] = group(directions, groups);
    Site site;
    site.centres = centres;
    site.experts = nearest.argsort(/*stable=*/true, 0);
    site.members = directions.index_select(0, site.experts);
    const auto counts = nearest.bincount({}, groups);
    site.begins.push_back(0);
    for (std::int64_t g = 0; g < groups; ++g)
      site.begins.push_back(site.begins.back() + counts[g].item<std::int64_t>());
    sites_.push_back(std::move(site));
  }
}

at::Tensor GroupedScores::scores_at(const Site& site, const at::Tensor& x) const {
  const auto groups = site.centres.size(0);
  const auto of_centres = ops::frozen_linear(x, site.centres, {}).abs_();
  const auto [best, probed] = at::topk(of_centres, std::min(probes_, groups), 1);
  const auto looked_at = at::zeros_like(of_centres, at::kBool).scatter_(1, probed, true);
  auto sorted = at::full({x.size(0), experts_}, -std::numeric_limits<float>::infinity(), at::kFloat);
  for (std::int64_t g = 0; g < groups; ++g) {
    const auto begin = site.begins[static_cast<std::size_t>(g)], end = site.begins[static_cast<std::size_t>(g) + 1];
    if (begin == end) continue;
    const auto tokens = at::nonzero(looked_at.select(1, g)).view({-1});
    if (tokens.size(0) == 0) continue;
    const auto own =
        ops::frozen_linear(x.index_select(0, tokens), site.members.narrow(0, begin, end - begin), {}).abs_();
    sorted.narrow(1, begin, end - begin).index_copy_(0, tokens, own);
  }
  return at::full({x.size(0), experts_}, 0.0, at::kFloat).index_copy_(1, site.experts, sorted);
}

at::Tensor GroupedScores::at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) const {
  const auto wide = x.detach().to(at::kFloat);
  std::vector<at::Tensor> out;
  for (const auto& site : sites) out.push_back(scores_at(sites_.at(static_cast<std::size_t>(site.site)), wide));
  return at::cat(out, 1);
}

double recall(const at::Tensor& exact, const at::Tensor& searched, std::int64_t k) {
  const auto [values, best] = at::topk(exact, std::min(k, exact.size(1)), 1);
  return searched.gather(1, best).isfinite().to(at::kDouble).mean().item<double>();
}

}  // namespace quiver::routing
