// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/token/directions.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>

#include "quiver/base/error.h"
#include "quiver/routing/token/expert_rows.h"

namespace quiver::routing {
namespace {

using Length = DirectionOptions::Length;

/// What is needed of an expert at a site: A, and B^T B, which ties may have summed over sites.
struct Half {
  at::Tensor a, gram_b;
  double scale = 1.0;
};

at::Tensor gram_b(const ops::LoraFactors& factors) {
  const auto b = factors.b.detach().to(at::kDouble);
  return at::mm(b.t(), b);
}

/// Experts of one rank R go through LAPACK together: small matrices cost more to call for than to compute. With
/// S^T S = B^T B, the right singular vectors of B A are those of S A, an R x in matrix: A^T S^T u for the eigenvectors
/// u of S A A^T S^T, and of length sigma.
void add_spectra_of_rank(const std::vector<const Half*>& halves, Length length, const std::vector<Spectrum*>& out) {
  constexpr double kLost = 1e-13;  // of the largest squared singular value: below the rounding of the float64 matrices
  std::vector<at::Tensor> grams_a, grams_b;
  for (const auto* half : halves) {
    const auto a = half->a.detach().to(at::kDouble);
    grams_a.push_back(at::mm(a, a.t()));
    grams_b.push_back(half->gram_b);
  }
  const auto [squares, basis] = at::linalg_eigh(at::stack(grams_b, 0));
  const auto root = basis.transpose(1, 2) * squares.clamp_min(0).sqrt().unsqueeze(2);  // S, [N, R, R]
  const auto [values, vectors] = at::linalg_eigh(at::bmm(at::bmm(root, at::stack(grams_a, 0)), root.transpose(1, 2)));
  const auto sigma_squared = values.flip({1}).clamp_min(0);
  const auto turned = at::bmm(vectors.transpose(1, 2), root).flip({1});  // rows u^T S, largest first
  for (std::size_t i = 0; i < halves.size(); ++i) {
    const auto n = static_cast<std::int64_t>(i);
    const auto s2 = sigma_squared[n];
    auto factor = s2.sqrt().reciprocal();
    if (length == Length::sigma_squared) factor = s2.sqrt();
    if (length == Length::gain) factor = at::zeros_like(s2).fill_(halves[i]->scale);
    factor = factor.masked_fill(s2.le(kLost * s2[0]), 0.0);
    const auto rows = (turned[n] * factor.unsqueeze(1)).to(at::kFloat);
    *out[i] = {at::mm(rows, halves[i]->a.detach().to(at::kFloat)), s2};
  }
}

std::vector<Spectrum> spectra_of(const std::vector<Half>& halves, Length length) {
  std::vector<Spectrum> out(halves.size());
  std::map<std::int64_t, std::pair<std::vector<const Half*>, std::vector<Spectrum*>>> by_rank;
  for (std::size_t i = 0; i < halves.size(); ++i) {
    if (!halves[i].a.defined()) continue;
    auto& [members, places] = by_rank[halves[i].a.size(0)];
    members.push_back(&halves[i]);
    places.push_back(&out[i]);
  }
  for (const auto& [rank, group] : by_rank) add_spectra_of_rank(group.first, length, group.second);
  return out;
}

bool is_qkv(const model::Site& site) {
  using model::Role;
  return site.role == Role::query || site.role == Role::key || site.role == Role::value;
}

/// B^T B of expert e summed over the q, k, v of the site's block.
Half tied_half(const adapter::Bank& bank, std::size_t site, std::size_t e) {
  const auto& sites = bank.model_sites();
  const auto& own = bank.site(static_cast<std::int64_t>(site)).experts[e];
  Half half{own.a, at::zeros({own.a.size(0), own.a.size(0)}, at::kDouble), own.scale};
  for (std::size_t s = 0; s < sites.size(); ++s) {
    const auto& other = bank.site(static_cast<std::int64_t>(s)).experts[e];
    if (sites[s].block != sites[site].block || !is_qkv(sites[s]) || !other.a.defined()) continue;
    QUIVER_CHECK(other.a.equal(own.a), usage, "tie=qkv", "expert '{}' has different A's at {} and {}", bank.names()[e],
                 sites[s].name, sites[site].name);
    half.gram_b += gram_b(other);
  }
  return half;
}

Half half_of(const adapter::Bank& bank, std::size_t site, std::size_t e, bool tie_qkv) {
  const auto& factors = bank.site(static_cast<std::int64_t>(site)).experts[e];
  if (!factors.a.defined()) return {};
  if (tie_qkv && is_qkv(bank.model_sites()[site])) return tied_half(bank, site, e);
  return {factors.a, gram_b(factors), factors.scale};
}

std::int64_t largest_rank(const adapter::Bank& bank) {
  std::int64_t rank = 1;
  for (std::size_t s = 0; s < bank.model_sites().size(); ++s) {
    for (const auto& factors : bank.site(static_cast<std::int64_t>(s)).experts) {
      if (factors.a.defined()) rank = std::max(rank, factors.a.size(0));
    }
  }
  return rank;
}

/// Fills the rows of the experts named at one site.
void fill_site(const adapter::Bank& bank, std::size_t site, const std::vector<std::size_t>& experts,
               const DirectionOptions& options, std::int64_t count, const at::Tensor& rows) {
  constexpr std::int64_t kTogether = 16;  // experts a thread takes at least
  at::parallel_for(0, static_cast<std::int64_t>(experts.size()), kTogether, [&](std::int64_t begin, std::int64_t end) {
    const c10::AutoGradMode no_gradient(false);
    std::vector<Half> halves;
    for (auto i = begin; i < end; ++i)
      halves.push_back(half_of(bank, site, experts[static_cast<std::size_t>(i)], options.tie_qkv));
    const auto spectra = spectra_of(halves, options.length);
    for (auto i = begin; i < end; ++i) {
      const auto& spectrum = spectra[static_cast<std::size_t>(i - begin)];
      if (!spectrum.directions.defined()) continue;
      const auto kept = std::min(count, spectrum.directions.size(0));
      const auto e = static_cast<std::int64_t>(experts[static_cast<std::size_t>(i)]);
      rows.narrow(0, e * count, kept).copy_(spectrum.directions.narrow(0, 0, kept));
    }
  });
}

}  // namespace

Spectrum spectrum_of(const ops::LoraFactors& factors, DirectionOptions::Length length) {
  return spectra_of({{factors.a, gram_b(factors), factors.scale}}, length).front();
}

SiteTable compute_directions(const adapter::Bank& bank, const DirectionOptions& options, Progress& progress) {
  const auto count = options.count > 0 ? options.count : largest_rank(bank);
  const auto sites = bank.model_sites().size();
  SiteTable table(bank.model_sites(), bank.size() * count);
  std::vector<std::size_t> all;
  for (std::size_t e = 0; e < static_cast<std::size_t>(bank.size()); ++e) all.push_back(e);
  for (std::size_t s = 0; s < sites; ++s) {
    progress.update("directions", s, sites, "");
    fill_site(bank, s, all, options, count, table.site(static_cast<std::int64_t>(s)));
  }
  progress.finish();
  return table;
}

SiteTable library_prototypes(const RouterInputs& inputs) {
  const auto& bank = *inputs.bank;
  const auto& sites = bank.model_sites();
  const ExpertFiles files(inputs, {"prototypes"});
  SiteTable table(sites, bank.size());
  const auto missing = fill_kept_rows(files, bank, table);
  for (std::size_t s = 0; s < sites.size() && !missing.empty(); ++s) {
    inputs.progress->update("prototypes", s, sites.size(), "");
    fill_site(bank, s, missing, {}, 1, table.site(static_cast<std::int64_t>(s)));
  }
  inputs.progress->finish();
  for (const auto e : missing) write_expert_row(files, bank, table, static_cast<std::int64_t>(e), e);
  return table;
}

}  // namespace quiver::routing
