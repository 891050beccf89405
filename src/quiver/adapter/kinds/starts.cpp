// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/kinds/starts.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "quiver/adapter/module_pattern.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/ops/random_tensor.h"

namespace quiver::adapter {
namespace {

constexpr double kBottleneckDeviation = 0.01;  // of its weights, as PEMT's target adapters start

}  // namespace

at::Tensor normal(at::IntArrayRef shape, Random& random, double deviation) {
  auto out = at::empty(shape, at::kFloat);
  for (std::int64_t i = 0; i < out.numel(); ++i)
    out.data_ptr<float>()[i] = static_cast<float>(random.normal() * deviation);
  return out;
}

at::Tensor uniform(at::IntArrayRef shape, Random& random, double bound) { return ops::uniform(shape, bound, random); }

at::Tensor random_embeddings(const NewAdapter& in, std::uint64_t stream) {
  Random random(derive_seed(in.seed, stream));
  const auto& embedding = in.model.embedding();
  auto out = at::empty({in.options.prompt_tokens, embedding.size(1)}, at::kFloat);
  for (std::int64_t i = 0; i < in.options.prompt_tokens; ++i) {
    const auto token = random.below(static_cast<std::uint64_t>(embedding.size(0)));
    out[i].copy_(embedding[static_cast<std::int64_t>(token)]);
  }
  return out;
}

void at_sites(const NewAdapter& in, std::initializer_list<model::Role> usual,
              const std::function<void(const model::Site&, std::size_t)>& visit) {
  const auto& sites = in.model.sites();
  if (!in.options.targets.empty()) {
    for (const auto i : targeted_sites(sites, in.options.targets, "--kind-targets")) visit(sites[i], i);
    return;
  }
  std::size_t made = 0;
  for (std::size_t i = 0; i < sites.size(); ++i) {
    if (usual.size() != 0 && std::find(usual.begin(), usual.end(), sites[i].role) == usual.end()) continue;
    visit(sites[i], i);
    ++made;
  }
  QUIVER_CHECK(made > 0, usage, "--kind-targets", "the model has none of the kind's usual sites; name some");
}

ops::Bottleneck& empty_bottleneck(const NewAdapter& in, const model::Site& site, ops::Reads reads, Adapter& out) {
  auto& b = out.extras[site.name].bottleneck.emplace();
  b.down_bias = at::zeros({in.options.width}, at::kFloat);
  b.up_bias = at::zeros({site.out}, at::kFloat);
  b.scale = in.options.scale;
  b.nonlinearity = in.options.nonlinearity;
  b.reads = reads;
  return b;
}

void make_bottlenecks(const NewAdapter& in, std::initializer_list<model::Role> usual, ops::Reads reads, Adapter& out) {
  at_sites(in, usual, [&](const model::Site& site, std::size_t i) {
    Random random(derive_seed(in.seed, 100000 + i));
    auto& b = empty_bottleneck(in, site, reads, out);
    // A feed-forward block reads what it gives: D numbers.
    const auto read = reads == ops::Reads::input ? site.in : site.out;
    b.down = normal({in.options.width, read}, random, kBottleneckDeviation);
    b.up = normal({site.out, in.options.width}, random, kBottleneckDeviation);
  });
}

bool has_bottleneck(const Adapter& adapter, ops::Reads reads) {
  return std::any_of(adapter.extras.begin(), adapter.extras.end(), [&](const auto& entry) {
    return entry.second.bottleneck && entry.second.bottleneck->reads == reads;
  });
}

}  // namespace quiver::adapter
