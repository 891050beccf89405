// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/sites.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <set>

#include "quiver/adapter/finite.h"
#include "quiver/base/error.h"
#include "quiver/merging/low_rank.h"

namespace quiver::merging {
namespace {

/// The rank of most sites: what the configuration states once instead of site by site.
std::int64_t common_rank(const std::map<std::string, ops::LoraFactors>& sites) {
  std::map<std::int64_t, std::size_t> count;
  for (const auto& [name, f] : sites) ++count[f.a.size(0)];
  return std::max_element(count.begin(), count.end(), [](const auto& x, const auto& y) { return x.second < y.second; })
      ->first;
}

void check_widths(const Term& first, const Term& term, const std::string& site) {
  QUIVER_CHECK(term.a.size(1) == first.a.size(1) && term.b.size(0) == first.b.size(0), mismatch, "merge",
               "site '{}' maps {} to {} in expert {} and {} to {} in expert {}: they are not over one base model", site,
               first.a.size(1), first.b.size(0), first.expert, term.a.size(1), term.b.size(0), term.expert);
}

}  // namespace

std::vector<std::string> site_names(const MergeInput& input) {
  std::set<std::string> names;
  for (const auto* expert : input.experts) {
    for (const auto& [site, factors] : expert->sites) names.insert(site);
  }
  return {names.begin(), names.end()};
}

Terms terms_of(const MergeInput& input, const std::string& site) {
  Terms terms;
  for (std::size_t e = 0; e < input.experts.size(); ++e) {
    const auto found = input.experts[e]->sites.find(site);
    if (found == input.experts[e]->sites.end()) continue;
    const auto& f = found->second;
    terms.push_back({e, input.weights[e], f.a.detach().to(at::kDouble), f.b.detach().to(at::kDouble), f.scale});
    check_widths(terms.front(), terms.back(), site);
  }
  return terms;
}

void for_each_site(const MergeInput& input,
                   const std::function<void(std::size_t, const std::string&, const Terms&)>& each) {
  const auto names = site_names(input);
  std::mutex mutex;
  std::uint64_t done = 0;
  at::parallel_for(0, static_cast<std::int64_t>(names.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    const c10::AutoGradMode no_gradient(false);
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      each(i, names[i], terms_of(input, names[i]));
      if (!input.progress) continue;
      const std::lock_guard lock(mutex);  // a Progress serves one thread at a time
      input.progress->update("merge", ++done, names.size(), "");
    }
  });
  if (input.progress) input.progress->finish();
}

adapter::Adapter adapter_of(const std::vector<std::string>& names, const std::vector<ops::LoraFactors>& factors) {
  adapter::Adapter out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& f = factors[i];
    if (!f.a.defined()) continue;
    out.sites[names[i]] = {f.a.to(at::kFloat).contiguous(), (f.b * f.scale).to(at::kFloat).contiguous(), 1.0};
  }
  QUIVER_CHECK(
      !out.sites.empty(), usage, "merge",
      "the result touches no site: the experts have none in common, and this method keeps only what they share");
  const auto bad = adapter::not_finite(out);
  QUIVER_CHECK(bad.empty(), format, "merge", "{} of the result holds NaN or infinity; its numbers are too large for it",
               bad);
  out.options.rank = common_rank(out.sites);
  out.options.alpha = static_cast<double>(out.options.rank);
  return out;
}

adapter::Adapter merge_sites(const MergeInput& input, std::int64_t rank, const MergeSite& merge) {
  const auto names = site_names(input);
  std::vector<ops::LoraFactors> factors(names.size());
  for_each_site(input, [&](std::size_t i, const std::string& site, const Terms& terms) {
    factors[i] = merge(site, terms);
    if (factors[i].a.defined()) factors[i] = truncate(factors[i], rank);
  });
  return adapter_of(names, factors);
}

double signed_root(double x) { return std::copysign(std::sqrt(std::abs(x)), x); }

ops::LoraFactors folded(const Term& term) {
  return {term.a * signed_root(term.scale), term.b * std::sqrt(std::abs(term.scale)), 1.0};
}

ops::LoraFactors padded(const ops::LoraFactors& f, std::int64_t rank) {
  const auto missing = rank - f.a.size(0);
  if (missing == 0) return f;
  return {at::constant_pad_nd(f.a, {0, 0, 0, missing}), at::constant_pad_nd(f.b, {0, missing}), f.scale};
}

std::int64_t largest_rank(const Terms& terms) {
  std::int64_t rank = 0;
  for (const auto& term : terms) rank = std::max(rank, term.a.size(0));
  return rank;
}

}  // namespace quiver::merging
