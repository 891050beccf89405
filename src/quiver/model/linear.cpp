// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/linear.h"

#include <ATen/ops/cat.h>

#include "quiver/ops/transformer_ops.h"

namespace quiver::model {

namespace {

/// Each site by its own input: its part of the map, and of the experts.
at::Tensor sites_apart(const Linear& linear, const at::Tensor& x, const std::vector<ops::SiteUse>& uses) {
  std::vector<at::Tensor> parts;
  for (const auto& site : linear.sites) {
    const auto rows = linear.weight.narrow(0, site.begin, site.count);
    const auto bias = linear.bias.defined() ? linear.bias.narrow(0, site.begin, site.count) : at::Tensor();
    auto in = x;
    std::vector<ops::SiteUse> of_site;
    for (const auto& use : uses) {
      if (use.out_begin != site.begin) continue;
      in = ops::scaled_input(in, use);  // uses of the same columns are of other tokens
      of_site.push_back(use);
      of_site.back().out_begin = 0;
    }
    parts.push_back(ops::apply_experts(in, ops::frozen_linear(in, rows, bias), of_site));
  }
  return parts.size() == 1 ? parts[0] : at::cat(parts, 1);
}

}  // namespace

at::Tensor Linear::forward(const at::Tensor& x, ExpertSource* experts) const {
  if (!experts) return ops::frozen_linear(x, weight, bias);
  const auto uses = experts->at(sites, x);
  if (ops::scale_inputs(uses)) return experts->finish(sites, x, sites_apart(*this, x, uses));
  return experts->finish(sites, x, ops::apply_experts(x, ops::frozen_linear(x, weight, bias), uses));
}

}  // namespace quiver::model
