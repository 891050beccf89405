// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/families/layer_parts.h"

#include <ATen/ops/cat.h>

namespace quiver::model {

Linear load_sites(const BlockPlace& place, const std::vector<SiteSpec>& specs, std::int64_t in, bool bias,
                  WeightReader& reader, std::vector<Site>& sites) {
  Linear linear;
  std::vector<at::Tensor> weights, biases;
  std::int64_t begin = 0;
  for (const auto& spec : specs) {
    const auto name = place.prefix + spec.name;
    weights.push_back(reader.take(name + ".weight", {spec.out, in}));
    if (bias) biases.push_back(reader.take(name + ".bias", {spec.out}));
    linear.sites.push_back({static_cast<std::int64_t>(sites.size()), begin, spec.out});
    sites.push_back({name, in, spec.out, place.layer, place.block, spec.role});
    begin += spec.out;
  }
  linear.weight = weights.size() == 1 ? weights[0].contiguous() : at::cat(weights, 0);
  if (bias) linear.bias = at::cat(biases, 0);
  for (const auto& own : linear.sites) {
    auto& site = sites[static_cast<std::size_t>(own.site)];
    site.weight = linear.weight.narrow(0, own.begin, own.count);
    if (bias) site.bias = linear.bias.narrow(0, own.begin, own.count);
  }
  return linear;
}

RmsNorm load_norm(const std::string& module, std::int64_t width, std::int64_t layer, WeightReader& reader,
                  std::vector<Norm>& norms) {
  RmsNorm out{reader.take(module + ".weight", {width}).to(at::kFloat), static_cast<std::int64_t>(norms.size())};
  norms.push_back({module, width, layer, out.weight});
  return out;
}

}  // namespace quiver::model
