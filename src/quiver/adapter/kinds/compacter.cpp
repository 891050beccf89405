// SPDX-License-Identifier: Apache-2.0
// Compacter (Mahabadi et al., 2021): bottlenecks in series with down^T = sum_i R_i (x) (L_i M_i) and up^T alike, (x)
// the Kronecker product, the rule R shared by all sites.
#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/einsum.h>

#include <algorithm>
#include <cmath>

#include "quiver/adapter/kinds/starts.h"
#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

constexpr const char* kRule = "compacter_rule";
constexpr const char *kDownLeft = ".adapter.down.left", *kDownRight = ".adapter.down.right";
constexpr const char *kUpLeft = ".adapter.up.left", *kUpRight = ".adapter.up.right";
constexpr double kRuleDeviation = 0.01;

struct CompacterOptions {
  std::int64_t products = 4;  ///< n
};

void describe(KindOptions& options, OptionSet& set) {
  set.integer("products", options.of<CompacterOptions>().products, at_least(1),
              "Kronecker products that a map of compacter is a sum of");
}

void make(const NewAdapter& in, Adapter& out) {
  const auto n = in.options.of<CompacterOptions>().products, width = in.options.width,
             hidden = in.model.config().hidden;
  QUIVER_CHECK(width % n == 0 && hidden % n == 0, usage, "--products",
               "{} does not divide the width {} and the model's {}", n, width, hidden);
  Random random(derive_seed(in.seed, 300000));
  out.stored[""][kRule] = normal({n, n, n}, random, kRuleDeviation);
  at_sites(in, {model::Role::attention_output, model::Role::down}, [&](const model::Site& site, std::size_t i) {
    Random stream(derive_seed(in.seed, 300001 + i));
    empty_bottleneck(in, site, ops::Reads::output, out);
    const auto glorot = [&](std::int64_t a, std::int64_t b) {
      return uniform({n, a, b}, stream, std::sqrt(6.0 / static_cast<double>(a + b)));
    };
    auto& tensors = out.stored[site.name];
    tensors[kDownLeft] = glorot(site.out / n, 1);
    tensors[kDownRight] = glorot(1, width / n);
    tensors[kUpLeft] = glorot(width / n, 1);
    tensors[kUpRight] = glorot(1, site.out / n);
  });
}

/// sum_i R_i (x) (L_i M_i), transposed: [n q, n p] from R [n, n, n], L [n, p, r], M [n, r, q].
at::Tensor kronecker_sum(const at::Tensor& rule, const at::Tensor& left, const at::Tensor& right) {
  const auto blocks = at::bmm(left, right);
  return at::einsum("nab,npq->bqap", {rule, blocks})
      .reshape({rule.size(2) * blocks.size(2), rule.size(1) * blocks.size(1)});
}

void work_out(const WorkedOut& in, Adapter& out) {
  const auto rule = in.given.stored_at("", kRule);
  const auto n = rule.defined() && rule.dim() == 3 ? rule.size(0) : 0;
  const auto maps = [&](const model::Site& site, const std::map<std::string, at::Tensor>& tensors) {
    const auto pair = [&](const char* left, const char* right) {
      if (!tensors.contains(left) || !tensors.contains(right)) return false;
      const auto &l = tensors.at(left), &m = tensors.at(right);
      return l.dim() == 3 && m.dim() == 3 && l.size(0) == n && m.size(0) == n && l.size(2) == m.size(1);
    };
    auto& b = out.extras[site.name].bottleneck;
    QUIVER_CHECK(n > 0 && b.has_value() && pair(kDownLeft, kDownRight) && pair(kUpLeft, kUpRight), mismatch,
                 "expert " + in.name,
                 "site '{}': Compacter's rule [n, n, n] is for factors [n, in / n, r], [n, r, out / n] of a bottleneck",
                 site.name);
    b->down = kronecker_sum(rule, tensors.at(kDownLeft), tensors.at(kDownRight));
    b->up = kronecker_sum(rule, tensors.at(kUpLeft), tensors.at(kUpRight));
  };
  in.at_sites(kDownLeft, maps);
}

StoredKey factor(const char* key) { return {.key = key, .label = "product", .dims = 3, .of_bottleneck = true}; }

}  // namespace

Kind compacter_kind() {
  return {.name = "compacter",
          .summary = "bottlenecks in series whose maps are sums of Kronecker products",
          .traits = {Trait::bottleneck},
          .place = "bottleneck at a site",
          .contains = "bottleneck",
          .options = {"kind_targets", "bottleneck_width", "bottleneck_scale", "nonlinearity"},
          .holds =
              [](const Adapter& a) {
                return std::any_of(a.stored.begin(), a.stored.end(),
                                   [](const auto& entry) { return entry.second.contains(kDownLeft); });
              },
          .make = make,
          .stored = {factor(kDownLeft),
                     factor(kDownRight),
                     factor(kUpLeft),
                     factor(kUpRight),
                     {.key = kRule, .label = "rule", .dims = 3, .of_site = false}},
          .describe = describe,
          .work_out = work_out};
}

}  // namespace quiver::adapter
