// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/entrywise.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <memory>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/merging/low_rank.h"
#include "quiver/merging/sparsify.h"

namespace quiver::merging {
namespace {

using Combine = MergeOptions::Combine;
using Convention = MergeOptions::Convention;
using Part = TensorKey::Part;
using Rescale = MergeOptions::Rescale;

/// A seed of its own for each tensor, the same in whatever order sites are visited.
std::uint64_t seed_of(std::uint64_t seed, const TensorKey& key) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (const unsigned char c : key.site) hash = (hash ^ c) * 0x100000001b3ULL;
  return derive_seed(derive_seed(derive_seed(seed, key.expert), hash), static_cast<std::uint64_t>(key.part));
}

Rescale rescale_of(const MergeOptions& o) {
  return o.rescale.value_or(o.convention == Convention::mergekit ? Rescale::l1 : Rescale::probability);
}

Sparsify keep_largest(double density) {
  return [density](const at::Tensor& t, const TensorKey&) { return density >= 1 ? t : t * magnitude_mask(t, density); };
}

Sparsify keep_random(const MergeOptions& o) {
  return [density = *o.density, seed = o.seed, rescale = rescale_of(o)](const at::Tensor& t, const TensorKey& key) {
    if (density >= 1) return t;
    const auto chances = at::full_like(t, density);
    return masked(t, random_mask(chances, seed_of(seed, key)), chances, rescale);
  };
}

Sparsify keep_middle(const MergeOptions& o) {
  return [density = *o.density, gamma = o.gamma](const at::Tensor& t, const TensorKey&) {
    return density >= 1 ? t : t * breadcrumbs_mask(t, density, gamma);
  };
}

Sparsify keep_by_magnitude(const MergeOptions& o) {
  QUIVER_CHECK(*o.density >= 1 || (*o.density - o.epsilon > 0 && *o.density + o.epsilon < 1), usage, "merge della",
               "epsilon={}, expected density -/+ epsilon inside 0 to 1 (density={})", o.epsilon, *o.density);
  return [o, rescale = rescale_of(o)](const at::Tensor& t, const TensorKey& key) {
    if (*o.density >= 1) return t;
    const auto chances = della_chances(t, *o.density, o.epsilon);
    return masked(t, random_mask(chances, seed_of(o.seed, key)), chances, rescale);
  };
}

/// MTTL's: one threshold for all factors of an expert.
Sparsify keep_largest_of_expert(const MergeInput& input, double density) {
  auto thresholds = std::make_shared<std::vector<double>>();
  for (const auto* expert : input.experts) {
    std::vector<at::Tensor> tensors;
    for (const auto& [site, f] : expert->sites) {
      const auto both = folded({0, 1.0, f.a.detach().to(at::kDouble), f.b.detach().to(at::kDouble), f.scale});
      tensors.insert(tensors.end(), {both.a, both.b});
    }
    thresholds->push_back(density >= 1 ? 0.0 : magnitude_quantile(tensors, density));
  }
  return [thresholds](const at::Tensor& t, const TensorKey& key) {
    return t * t.abs().ge((*thresholds)[key.expert]).to(t.scalar_type());
  };
}

/// The tensors of one part at a site, each with the weight that it enters with.
struct Entries {
  std::vector<at::Tensor> tensors;
  std::vector<double> weights;
};

at::Tensor combine_entries(const Entries& entries, const MergeOptions& options, const EntryRule& rule) {
  const auto stacked = at::stack(entries.tensors, 0);
  const auto weights = at::tensor(entries.weights, stacked.options());
  if (rule.elects) return consensus(stacked, weights, options.convention, options.sign, rule.divisor);
  return (stacked * weights.view({-1, 1, 1})).sum(0);
}

ops::LoraFactors merge_products(const std::string& site, const Terms& terms, const MergeOptions& options,
                                const EntryRule& rule) {
  Entries products;
  for (const auto& term : terms) {
    products.tensors.push_back(rule.sparsify(at::mm(term.b, term.a) * term.scale, {term.expert, site, Part::product}));
    products.weights.push_back(term.weight);
  }
  const auto rank = options.rank > 0 ? options.rank : largest_rank(terms);
  return truncate_dense(combine_entries(products, options, rule), rank);
}

ops::LoraFactors merge_factors(const std::string& site, const Terms& terms, const MergeOptions& options,
                               const EntryRule& rule) {
  const bool raw = options.convention == Convention::peft;  // PEFT's weights carry the scale
  const bool weighted_mean = rule.elects && rule.divisor == Divisor::weights;
  const auto rank = largest_rank(terms);
  Entries a, b;
  for (const auto& term : terms) {
    auto f = raw ? ops::LoraFactors{term.a, term.b, 1.0} : folded(term);
    f = padded(
        {rule.sparsify(f.a, {term.expert, site, Part::a}), rule.sparsify(f.b, {term.expert, site, Part::b}), 1.0},
        rank);
    const double weight = raw ? term.weight * term.scale : term.weight;
    a.tensors.push_back(f.a);
    b.tensors.push_back(f.b);
    a.weights.push_back(weighted_mean ? weight : signed_root(weight));
    b.weights.push_back(weighted_mean ? weight : std::sqrt(std::abs(weight)));
  }
  return {combine_entries(a, options, rule), combine_entries(b, options, rule), 1.0};
}

Divisor divisor_of(const MergeOptions& o, bool normalised) {
  if (o.convention != Convention::mergekit) return Divisor::count;
  return normalised ? Divisor::weights : Divisor::nothing;
}

adapter::Adapter ties(const MergeInput& input, const MergeOptions& o, Combine combine) {
  const auto rule = o.convention == Convention::mttl && combine == Combine::factors
                        ? keep_largest_of_expert(input, *o.density)
                        : keep_largest(*o.density);
  return merge_entries(input, o, {rule, true, divisor_of(o, true), combine});
}

}  // namespace

adapter::Adapter merge_entries(const MergeInput& input, const MergeOptions& options, const EntryRule& rule) {
  const bool products = rule.combine == Combine::products;
  return merge_sites(input, options.rank, [&](const std::string& site, const Terms& terms) {
    auto merged = products ? merge_products(site, terms, options, rule) : merge_factors(site, terms, options, rule);
    merged.scale *= options.lambda;
    return merged;
  });
}

adapter::Adapter merge_ties(const MergeInput& input, const MergeOptions& o) { return ties(input, o, Combine::factors); }
adapter::Adapter merge_ties_svd(const MergeInput& input, const MergeOptions& o) {
  return ties(input, o, Combine::products);
}
adapter::Adapter merge_magnitude_prune(const MergeInput& input, const MergeOptions& o) {
  return merge_entries(input, o, {keep_largest(*o.density), false, {}, Combine::factors});
}
adapter::Adapter merge_magnitude_prune_svd(const MergeInput& input, const MergeOptions& o) {
  return merge_entries(input, o, {keep_largest(*o.density), false, {}, Combine::products});
}
adapter::Adapter merge_dare_linear(const MergeInput& input, const MergeOptions& o) {
  return merge_entries(input, o, {keep_random(o), false, {}, Combine::factors});
}
adapter::Adapter merge_dare_linear_svd(const MergeInput& input, const MergeOptions& o) {
  return merge_entries(input, o, {keep_random(o), false, {}, Combine::products});
}
adapter::Adapter merge_dare_ties(const MergeInput& input, const MergeOptions& o) {
  return merge_entries(input, o, {keep_random(o), true, divisor_of(o, false), Combine::factors});
}
adapter::Adapter merge_dare_ties_svd(const MergeInput& input, const MergeOptions& o) {
  return merge_entries(input, o, {keep_random(o), true, divisor_of(o, false), Combine::products});
}
adapter::Adapter merge_breadcrumbs(const MergeInput& input, const MergeOptions& o) {
  return merge_entries(input, o, {keep_middle(o), false, {}, o.combine.value_or(Combine::factors)});
}
adapter::Adapter merge_della(const MergeInput& input, const MergeOptions& o) {
  return merge_entries(input, o,
                       {keep_by_magnitude(o), true, divisor_of(o, true), o.combine.value_or(Combine::factors)});
}

adapter::Adapter ties_step(const MergeInput& input, const MergeOptions& options, bool dare) {
  auto o = options;
  o.convention = Convention::mergekit;
  o.rescale = Rescale::probability;
  return merge_entries(input, o,
                       {dare ? keep_random(o) : keep_largest(*o.density), true, Divisor::weights, Combine::factors});
}

}  // namespace quiver::merging
