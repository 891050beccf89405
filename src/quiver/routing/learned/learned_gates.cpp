// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/learned/learned_gates.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/ops/random_tensor.h"

namespace quiver::routing {
namespace {

/// A leaf that trains.
at::Tensor uniform(Random& random, std::int64_t count, double bound) {
  return ops::uniform({count}, bound, random).set_requires_grad(true);
}

std::int64_t total_width(const std::vector<model::Site>& sites) {
  std::int64_t sum = 0;
  for (const auto& site : sites) sum += site.in;
  return sum;
}

std::int64_t side_of(std::int64_t experts) {
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(experts))));
  QUIVER_CHECK(side * side == experts, usage, "gate=product-keys", "{} experts, expected a square number", experts);
  return side;
}

}  // namespace

std::map<std::string, at::Tensor> fresh_gates(const std::vector<model::Site>& sites, std::int64_t experts,
                                              const GateShape& shape, std::uint64_t seed) {
  Random random(seed);
  const auto width = total_width(sites), count = static_cast<std::int64_t>(sites.size());
  switch (shape.kind) {
    case GateKind::linear:
      // At zero all experts weigh the same, and the gradient tells them apart.
      return {{"gates", at::zeros({experts * width}, at::kFloat).set_requires_grad(true)}};
    case GateKind::rkhs:
      return {{"inputs", uniform(random, shape.space * width, 1.0 / std::sqrt(static_cast<double>(width / count)))},
              {"experts", uniform(random, count * shape.space * shape.embedding,
                                  1.0 / std::sqrt(static_cast<double>(shape.embedding)))},
              {"embeddings", uniform(random, count * experts * shape.embedding, 0.02)}};
    case GateKind::product_keys: {
      const auto side = side_of(experts);
      return {{"inputs", uniform(random, 2 * shape.space * width, 1.0 / std::sqrt(static_cast<double>(width / count)))},
              {"keys", uniform(random, 2 * count * side * shape.space, 0.02)}};
    }
  }
  return {};
}

namespace {

/// Rows [E, in] of one site whose inputs begin at `offset` of all sites' widths.
at::Tensor rows_of_site(std::int64_t s, std::int64_t in, std::int64_t offset, std::int64_t experts, std::int64_t sites,
                        const GateShape& shape, const std::map<std::string, at::Tensor>& weights) {
  if (shape.kind == GateKind::rkhs) {
    const auto h = weights.at("inputs").narrow(0, shape.space * offset, shape.space * in).view({shape.space, in});
    const auto w = weights.at("experts").view({sites, shape.space, shape.embedding})[s];
    const auto embeddings = weights.at("embeddings").view({sites, experts, shape.embedding})[s];
    return embeddings.matmul(w.t()).matmul(h);
  }
  const auto side = side_of(experts);
  const auto h =
      weights.at("inputs").narrow(0, 2 * shape.space * offset, 2 * shape.space * in).view({2, shape.space, in});
  const auto keys = weights.at("keys").view({sites, 2, side, shape.space})[s];
  const auto first = keys[0].matmul(h[0]), second = keys[1].matmul(h[1]);  // [side, in]
  return (first.unsqueeze(1) + second.unsqueeze(0)).reshape({experts, in});
}

}  // namespace

SiteTable gate_table(const std::vector<model::Site>& sites, std::int64_t experts, const GateShape& shape,
                     const std::map<std::string, at::Tensor>& weights) {
  SiteTable table(sites, experts);
  if (shape.kind == GateKind::linear) {
    table.set_flat(weights.at("gates"));
    return table;
  }
  std::vector<at::Tensor> parts;
  std::int64_t offset = 0;
  for (std::size_t s = 0; s < sites.size(); ++s) {
    parts.push_back(rows_of_site(static_cast<std::int64_t>(s), sites[s].in, offset, experts,
                                 static_cast<std::int64_t>(sites.size()), shape, weights)
                        .reshape({-1}));
    offset += sites[s].in;
  }
  table.set_flat(at::cat(parts, 0));
  return table;
}

}  // namespace quiver::routing
