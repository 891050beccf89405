// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/project.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_pinv.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/zeros.h>

#include "quiver/base/error.h"
#include "quiver/merging/low_rank.h"

namespace quiver::merging {
namespace {

constexpr double kNoDirection = 1e-12;  // eigenvalues below this share of the largest: experts that repeat each other

/// Factors brought to one scale and rank, so that they can be compared.
std::vector<ops::LoraFactors> comparable(const Terms& terms) {
  std::vector<ops::LoraFactors> out;
  for (const auto& term : terms) out.push_back(padded(folded(term), largest_rank(terms)));
  return out;
}

double product_sum(const at::Tensor& x, const at::Tensor& y) { return (x * y).sum().item<double>(); }

enum class Part { a, b, product };

/// Inner products of the site's experts, [N, N] by expert number; rows of experts without the site are zero.
at::Tensor gram_of(const Terms& terms, std::size_t experts, Part part) {
  const auto n = static_cast<std::int64_t>(experts);
  auto gram = at::zeros({n, n}, at::kDouble);
  auto entry = gram.accessor<double, 2>();
  const auto factors = part == Part::product ? std::vector<ops::LoraFactors>() : comparable(terms);
  for (std::size_t i = 0; i < terms.size(); ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      const double value = part == Part::product ? inner_product(terms[i], terms[j])
                           : part == Part::a     ? product_sum(factors[i].a, factors[j].a)
                                                 : product_sum(factors[i].b, factors[j].b);
      const auto r = static_cast<std::int64_t>(terms[i].expert), c = static_cast<std::int64_t>(terms[j].expert);
      entry[r][c] = entry[c][r] = value;
    }
  }
  return gram;
}

/// sum_e c_e X_e, of one factor.
at::Tensor combination(const Terms& terms, const at::Tensor& coefficients, Part part) {
  const auto factors = comparable(terms);
  at::Tensor sum = at::zeros_like(part == Part::a ? factors[0].a : factors[0].b);
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (terms[i].expert == 0) continue;
    const double c = coefficients[static_cast<std::int64_t>(terms[i].expert) - 1].item<double>();
    sum += (part == Part::a ? factors[i].a : factors[i].b) * c;
  }
  return sum;
}

ops::LoraFactors exact_combination(const Terms& terms, const at::Tensor& coefficients) {
  Terms others;
  std::vector<double> weights;
  for (const auto& term : terms) {
    if (term.expert == 0) continue;
    others.push_back(term);
    weights.push_back(coefficients[static_cast<std::int64_t>(term.expert) - 1].item<double>());
  }
  return stack(others, weights);
}

}  // namespace

at::Tensor projection_coefficients(const at::Tensor& gram) {
  const auto others = gram.size(0) - 1;
  const auto normal = gram.narrow(0, 1, others).narrow(1, 1, others);
  return at::mv(at::linalg_pinv(normal, kNoDirection, true), gram.select(1, 0).narrow(0, 1, others));
}

adapter::Adapter merge_project(const MergeInput& input, const MergeOptions& o) {
  const auto experts = input.experts.size();
  QUIVER_CHECK(experts >= 2, usage, "merge project", "expected the expert to project, then one or more others");
  const bool products = o.combine.value_or(MergeOptions::Combine::factors) == MergeOptions::Combine::products;
  const auto in_first = [&](const std::string& site) { return input.experts[0]->sites.contains(site); };
  at::Tensor shared;
  if (o.granularity == MergeOptions::Granularity::coarse) {
    std::vector<at::Tensor> grams(site_names(input).size());
    for_each_site(input, [&](std::size_t i, const std::string& site, const Terms& terms) {
      if (!in_first(site)) return;
      grams[i] = products ? gram_of(terms, experts, Part::product)
                          : gram_of(terms, experts, Part::a) + gram_of(terms, experts, Part::b);
    });
    at::Tensor sum = at::zeros({static_cast<std::int64_t>(experts), static_cast<std::int64_t>(experts)}, at::kDouble);
    for (const auto& gram : grams) {
      if (gram.defined()) sum += gram;
    }
    shared = projection_coefficients(sum);
  }
  return merge_sites(input, o.rank, [&](const std::string& site, const Terms& terms) -> ops::LoraFactors {
    if (!in_first(site) || terms.size() < 2) return {};  // the others say nothing here: the projection is zero
    const auto coefficients = [&](Part part) {
      return shared.defined() ? shared : projection_coefficients(gram_of(terms, experts, part));
    };
    if (products) return exact_combination(terms, coefficients(Part::product));
    return {combination(terms, coefficients(Part::a), Part::a), combination(terms, coefficients(Part::b), Part::b),
            1.0};
  });
}

}  // namespace quiver::merging
