// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adaptation/adaptation_merge.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include "quiver/base/error.h"
#include "quiver/merging/low_rank.h"

namespace quiver::training {
namespace {

/// Options that say scale 1 of the largest rank.
adapter::Adapter with_unit_scale(std::map<std::string, ops::LoraFactors> sites) {
  adapter::Adapter out;
  out.options.rank = 1;
  for (const auto& [name, f] : sites) out.options.rank = std::max(out.options.rank, f.a.size(0));
  out.options.alpha = static_cast<double>(out.options.rank);
  out.sites = std::move(sites);
  return out;
}

/// merge(factors, weight) of each site from the experts that touch it.
template <typename Merge>
adapter::Adapter merged(const adapter::Bank& bank, const at::Tensor& weights, Merge merge) {
  const auto& sites = bank.model_sites();
  QUIVER_CHECK((weights.sizes() == at::IntArrayRef{static_cast<std::int64_t>(sites.size()), bank.size()}), mismatch,
               "adaptation", "weights of {} sites and {} experts, expected {} and {}", weights.size(0), weights.size(1),
               sites.size(), bank.size());
  const c10::AutoGradMode no_gradient(false);
  const auto values = weights.detach().to(at::kDouble).contiguous();
  std::map<std::string, ops::LoraFactors> out;
  for (std::int64_t s = 0; s < weights.size(0); ++s) {
    std::vector<std::pair<const ops::LoraFactors*, double>> terms;
    for (std::int64_t e = 0; e < bank.size(); ++e) {
      const auto& f = bank.site(s).experts[static_cast<std::size_t>(e)];
      if (f.a.defined()) terms.emplace_back(&f, values.const_data_ptr<double>()[s * bank.size() + e]);
    }
    if (!terms.empty()) out[sites[static_cast<std::size_t>(s)].name] = merge(terms);
  }
  QUIVER_CHECK(!out.empty(), usage, "adaptation", "there are no experts to start from");
  return with_unit_scale(std::move(out));
}

}  // namespace

at::Tensor site_weights(const adapter::Bank& bank, const std::vector<double>& weights) {
  const std::vector<float> narrow(weights.begin(), weights.end());
  const auto sites = static_cast<std::int64_t>(bank.model_sites().size());
  return at::tensor(narrow, at::kFloat).unsqueeze(0).repeat({sites, 1});
}

adapter::Adapter merge_factors(const adapter::Bank& bank, const at::Tensor& weights) {
  return merged(bank, weights, [](const auto& terms) {
    std::int64_t rank = 0;
    for (const auto& [f, w] : terms) rank = std::max(rank, f->a.size(0));
    ops::LoraFactors sum;
    for (const auto& [f, w] : terms) {
      const auto missing = rank - f->a.size(0);
      const auto a = at::constant_pad_nd(f->a.detach().to(at::kFloat), {0, 0, 0, missing}) * w;
      const auto b = at::constant_pad_nd(f->b.detach().to(at::kFloat), {0, missing}) * (w * f->scale);
      sum.a = sum.a.defined() ? sum.a + a : a;
      sum.b = sum.b.defined() ? sum.b + b : b;
    }
    return sum;
  });
}

adapter::Adapter merge_products(const adapter::Bank& bank, const at::Tensor& weights) {
  return merged(bank, weights, [](const auto& terms) {
    std::vector<at::Tensor> a, b;
    for (const auto& [f, w] : terms) {
      a.push_back(f->a.detach().to(at::kFloat));
      b.push_back(f->b.detach().to(at::kFloat) * (w * f->scale));
    }
    return ops::LoraFactors{at::cat(a, 0), at::cat(b, 1), 1.0};
  });
}

adapter::Adapter truncated(const adapter::Adapter& adapter, std::int64_t rank) {
  const c10::AutoGradMode no_gradient(false);
  std::map<std::string, ops::LoraFactors> out;
  for (const auto& [name, f] : adapter.sites) {
    const auto kept = merging::truncate({f.a.detach().to(at::kDouble), f.b.detach().to(at::kDouble), f.scale}, rank);
    out[name] = {kept.a.to(at::kFloat).contiguous(), (kept.b * kept.scale).to(at::kFloat).contiguous(), 1.0};
  }
  return with_unit_scale(std::move(out));
}

}  // namespace quiver::training
