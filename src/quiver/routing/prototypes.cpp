// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/prototypes.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "quiver/base/error.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::routing {

Prototype prototype_of(const ops::LoraFactors& factors) {
  // A^T = Q R, so (B A)^T (B A) = Q (R B^T B R^T) Q^T: the eigenvectors of the R x R matrix in the middle, turned by Q.
  const auto b = factors.b.detach().to(at::kDouble);
  const auto [q, r] = at::linalg_qr(factors.a.detach().to(at::kDouble).t());
  const auto middle = at::mm(at::mm(r, at::mm(b.t(), b)), r.t());
  const auto [values, vectors] = at::linalg_eigh(middle);
  const auto last = values.size(0) - 1;
  const auto direction = at::mv(q, vectors.select(1, last));
  return {(direction / direction.norm().clamp_min(1e-300)).to(at::kFloat), values[last].item<double>()};
}

std::vector<at::Tensor> compute_prototypes(const adapter::Bank& bank, std::vector<at::Tensor>* sigma_squared,
                                           Progress& progress) {
  const auto sites = bank.model_sites().size();
  std::vector<at::Tensor> out(sites);
  if (sigma_squared) sigma_squared->assign(sites, {});
  for (std::size_t s = 0; s < sites; ++s) {
    progress.update("prototypes", s, sites, "");
    out[s] = at::zeros({bank.size(), bank.model_sites()[s].in}, at::kFloat);
    auto sigma = at::zeros({bank.size()}, at::kFloat);
    const auto& experts = bank.site(static_cast<std::int64_t>(s)).experts;
    at::parallel_for(0, bank.size(), 1, [&](std::int64_t begin, std::int64_t end) {
      const c10::AutoGradMode no_gradient(false);
      for (auto e = begin; e < end; ++e) {
        const auto& factors = experts[static_cast<std::size_t>(e)];
        if (!factors.a.defined()) continue;
        const auto prototype = prototype_of(factors);
        out[s].select(0, e).copy_(prototype.direction);
        sigma[e].fill_(prototype.sigma_squared);
      }
    });
    if (sigma_squared) (*sigma_squared)[s] = sigma;
  }
  progress.update("prototypes", sites, sites, "");
  progress.finish();
  return out;
}

std::vector<at::Tensor> library_prototypes(const library::Library& library, const adapter::Bank& bank,
                                           bool scale_by_sigma, Progress& progress) {
  const auto key = library.contents_key(bank.names());
  const auto& sites = bank.model_sites();
  if (!library.derived("prototypes", key, "safetensors")) {
    std::vector<at::Tensor> sigma;
    const auto directions = compute_prototypes(bank, &sigma, progress);
    std::map<std::string, at::Tensor> tensors;
    for (std::size_t s = 0; s < sites.size(); ++s) {
      tensors[sites[s].name + ".prototypes"] = directions[s];
      tensors[sites[s].name + ".sigma_squared"] = sigma[s];
    }
    library.write_derived("prototypes", key, "safetensors", [&](const fs::path& path) {
      tensor_io::write_safetensors(path, tensors, {{"format", "pt"}});
    });
  }
  const auto path = *library.derived("prototypes", key, "safetensors");
  const auto file = tensor_io::open_safetensors(path);
  std::vector<at::Tensor> out;
  for (const auto& site : sites) {
    auto directions = file->load(site.name + ".prototypes");
    QUIVER_CHECK((directions.sizes() == at::IntArrayRef{bank.size(), site.in}), mismatch, path.string(),
                 "'{}.prototypes' has another shape than [{}, {}]; delete the file, it is rebuilt", site.name,
                 bank.size(), site.in);
    out.push_back(scale_by_sigma ? directions * file->load(site.name + ".sigma_squared").unsqueeze(1) : directions);
  }
  return out;
}

}  // namespace quiver::routing
