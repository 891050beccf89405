// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/site_extras.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/ops/apply_experts.h"

namespace quiver::ops {
namespace {

std::optional<at::Tensor> optional(const at::Tensor& t) { return t.defined() ? std::optional(t) : std::nullopt; }

/// `like` [T, width] summed over the groups of the site's mix: value(extras, rows of x, rows of y) times the weight.
template <typename Value>
at::Tensor mixed(const SiteUse& site, const at::Tensor& x, const at::Tensor& y, Value value) {
  at::Tensor sum;
  for (const auto& group : site.mix->groups) {
    const auto& extras = site.bank->extras[static_cast<std::size_t>(group.expert)];
    const bool all = group.first_token == 0 && group.count == x.size(0);
    const bool range = group.first_token >= 0;
    const auto tokens = range ? at::Tensor() : site.mix->tokens_of_entries.narrow(0, group.first_entry, group.count);
    const auto rows = [&](const at::Tensor& t) {
      return all ? t : range ? t.narrow(0, group.first_token, group.count) : t.index_select(0, tokens);
    };
    auto term = value(extras, rows(x), rows(y));
    if (!term.defined()) continue;
    if (site.mix->weights.defined())
      term = term * site.mix->weights.narrow(0, group.first_entry, group.count).unsqueeze(1).to(term.scalar_type());
    if (all) {
      sum = sum.defined() ? sum + term : term.expand({x.size(0), term.size(1)});
      continue;
    }
    if (!sum.defined()) sum = at::zeros({x.size(0), term.size(1)}, term.options().requires_grad(false));
    term = term.expand({group.count, term.size(1)});
    sum = range ? sum.slice_scatter(sum.narrow(0, group.first_token, group.count) + term, 0, group.first_token,
                                    group.first_token + group.count)
                : sum.index_add(0, tokens, term);
  }
  return sum;
}

/// What the site's columns become.
at::Tensor finished(const SiteUse& site, const at::Tensor& x, at::Tensor y) {
  const auto dtype = y.scalar_type();
  const auto scale = mixed(site, x, y, [&](const SiteExtras& e, const at::Tensor&, const at::Tensor& own) {
    return e.output_scale.defined() ? own * (e.output_scale - 1.0).to(dtype) : at::Tensor();
  });
  if (scale.defined()) y = y + scale;
  const auto beside = mixed(site, x, y, [&](const SiteExtras& e, const at::Tensor& own_x, const at::Tensor&) {
    auto out = e.bias.defined() ? e.bias.to(dtype).unsqueeze(0).expand({own_x.size(0), -1}) : at::Tensor();
    if (!e.bottleneck || e.bottleneck->reads != Reads::input) return out;
    const auto term = apply(*e.bottleneck, own_x);
    return out.defined() ? out + term : term;
  });
  if (beside.defined()) y = y + beside;
  if (site.block_input.defined()) {
    const auto around = mixed(site, site.block_input, y, [&](const SiteExtras& e, const at::Tensor& own, const auto&) {
      return e.bottleneck && e.bottleneck->reads == Reads::block ? apply(*e.bottleneck, own) : at::Tensor();
    });
    if (around.defined()) y = y + around;
  }
  const auto after = mixed(site, x, y, [&](const SiteExtras& e, const at::Tensor&, const at::Tensor& own) {
    return e.bottleneck && e.bottleneck->reads == Reads::output ? apply(*e.bottleneck, own) : at::Tensor();
  });
  return after.defined() ? y + after : y;
}

}  // namespace

at::Tensor apply(Nonlinearity nonlinearity, const at::Tensor& x) {
  switch (nonlinearity) {
    case Nonlinearity::none:
      return x;
    case Nonlinearity::relu:
      return at::relu(x);
    case Nonlinearity::gelu:
      return at::gelu(x);
    case Nonlinearity::gelu_tanh:
      return at::gelu(x, "tanh");
    case Nonlinearity::silu:
      return at::silu(x);
    case Nonlinearity::tanh:
      return at::tanh(x);
  }
  fail(ErrorCode::usage, "bottleneck", "unknown nonlinearity");
}

at::Tensor apply(const Bottleneck& b, const at::Tensor& x) {
  const auto dtype = x.scalar_type();
  const auto of = [&](const at::Tensor& t) { return t.defined() ? t.to(dtype) : t; };
  const auto hidden = apply(b.nonlinearity, at::linear(x, of(b.down), optional(of(b.down_bias))));
  const auto out = at::linear(hidden, of(b.up), optional(of(b.up_bias)));
  return b.scale == 1.0 ? out : out * b.scale;
}

bool has_extras(const std::vector<SiteUse>& sites) {
  return std::any_of(sites.begin(), sites.end(),
                     [](const auto& site) { return !site.bank->extras.empty() && !site.mix->empty(); });
}

at::Tensor apply_extras(const at::Tensor& x, const at::Tensor& y, const std::vector<SiteUse>& sites) {
  // The sites' columns, and what lies between them, one after another. Uses of the same columns are of other tokens.
  auto ordered = sites;
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto& a, const auto& b) { return a.out_begin < b.out_begin; });
  std::vector<at::Tensor> parts;
  std::int64_t end = 0;
  for (const auto& site : ordered) {
    if (!parts.empty() && site.out_begin < end) {
      QUIVER_CHECK(site.out_begin + site.out_count == end && parts.back().size(1) == site.out_count, mismatch,
                   "experts", "columns [{}, {}) overlap those of another site", site.out_begin,
                   site.out_begin + site.out_count);
      if (!site.bank->extras.empty()) parts.back() = finished(site, x, parts.back());
      continue;
    }
    if (site.out_begin > end) parts.push_back(y.narrow(1, end, site.out_begin - end));
    const auto own = y.narrow(1, site.out_begin, site.out_count);
    parts.push_back(site.bank->extras.empty() ? own : finished(site, x, own));
    end = site.out_begin + site.out_count;
  }
  if (end < y.size(1)) parts.push_back(y.narrow(1, end, y.size(1) - end));
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

namespace {

bool scales_input(const SiteUse& site) {
  return !site.bank->extras.empty() &&
         std::any_of(site.mix->groups.begin(), site.mix->groups.end(), [&](const auto& g) {
           return site.bank->extras[static_cast<std::size_t>(g.expert)].input_scale.defined();
         });
}

}  // namespace

bool scale_inputs(const std::vector<SiteUse>& sites) { return std::any_of(sites.begin(), sites.end(), scales_input); }

at::Tensor scaled_input(const at::Tensor& x, const SiteUse& site) {
  if (!scales_input(site)) return x;
  const auto scale = mixed(site, x, x, [&](const SiteExtras& e, const at::Tensor& rows, const at::Tensor&) {
    return e.input_scale.defined() ? rows * (e.input_scale - 1.0).to(x.scalar_type()) : at::Tensor();
  });
  return x + scale;
}

}  // namespace quiver::ops
