// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/difference.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/linalg_svdvals.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <set>

#include "quiver/adapter/traits.h"
#include "quiver/base/error.h"

namespace quiver::clustering {
namespace {

constexpr double kRelativeRank = 1e-6;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// The singular value decomposition of s B A: output [out, R], values [R], input [in, R].
struct Spectrum {
  at::Tensor output, values, input;
  double norm = 0.0;
  std::int64_t count = 0;  ///< of the values that are not rounding
};

Spectrum spectrum_of(const ops::LoraFactors& f) {
  const auto [q, r] = at::linalg_qr(f.a.detach().to(at::kDouble).t());
  const auto [p, s] = at::linalg_qr(f.b.detach().to(at::kDouble));
  const auto [u, values, vh] = at::linalg_svd(f.scale * at::mm(s, r.t()), false);
  const auto count = values.gt(kRelativeRank * values.max()).sum().item<std::int64_t>();
  return {at::mm(p, u), values, at::mm(q, vh.t()), values.norm().item<double>(), count};
}

/// Between the spaces of the first columns. The cosines of the principal angles are the singular values of the product
/// of the bases.
double largest_angle(const at::Tensor& first, std::int64_t first_count, const at::Tensor& second,
                     std::int64_t second_count) {
  const auto product = at::mm(first.narrow(1, 0, first_count).t(), second.narrow(1, 0, second_count));
  const double least = at::linalg_svdvals(product).min().item<double>();
  return std::acos(std::clamp(least, 0.0, 1.0)) * 180.0 / std::numbers::pi;
}

SiteDifference compare(const std::string& site, const ops::LoraFactors& a, const ops::LoraFactors& b) {
  QUIVER_CHECK(a.a.size(1) == b.a.size(1) && a.b.size(0) == b.b.size(0), mismatch, "site " + site,
               "[{}, {}] and [{}, {}]: not the same linear map", a.b.size(0), a.a.size(1), b.b.size(0), b.a.size(1));
  const auto first = spectrum_of(a), second = spectrum_of(b);
  SiteDifference out{site, first.norm, second.norm, kNaN, kNaN, kNaN};
  if (first.norm == 0.0 || second.norm == 0.0) return out;
  const auto outputs = at::mm(first.output.t(), second.output), inputs = at::mm(first.input.t(), second.input);
  const auto inner = (first.values.unsqueeze(1) * outputs * inputs * second.values.unsqueeze(0)).sum().item<double>();
  out.cosine = std::clamp(inner / (first.norm * second.norm), -1.0, 1.0);
  out.input_angle = largest_angle(first.input, first.count, second.input, second.count);
  out.output_angle = largest_angle(first.output, first.count, second.output, second.count);
  return out;
}

}  // namespace

std::vector<SiteDifference> differences(const adapter::Adapter& a, const adapter::Adapter& b,
                                        const std::pair<std::string, std::string>& names) {
  const adapter::Honours honours{
      "library diff", {adapter::Trait::low_rank}, false, "what low-rank factors do is compared, and nothing else"};
  adapter::require(names.first, a, honours);
  adapter::require(names.second, b, honours);
  std::set<std::string> sites;
  for (const auto* adapter : {&a, &b}) {
    for (const auto& [site, factors] : adapter->sites) sites.insert(site);
  }
  std::vector<SiteDifference> out;
  for (const auto& site : sites) {
    const auto first = a.sites.find(site), second = b.sites.find(site);
    if (first != a.sites.end() && second != b.sites.end()) {
      out.push_back(compare(site, first->second, second->second));
    } else if (first != a.sites.end()) {
      out.push_back({site, spectrum_of(first->second).norm, 0.0, kNaN, kNaN, kNaN});
    } else {
      out.push_back({site, 0.0, spectrum_of(second->second).norm, kNaN, kNaN, kNaN});
    }
  }
  return out;
}

}  // namespace quiver::clustering
