// SPDX-License-Identifier: Apache-2.0
// DoRA (Liu et al., 2024): c (W x + s B A x), c = m / |W + s B A| of each row, without a gradient. A base bias stays as
// it is. Its files are peft.h's.
#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "quiver/adapter/kind.h"
#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

/// |W + s B A| of each row, [out], without forming B A:
/// |w_i + s b_i A|^2 = |w_i|^2 + 2 s b_i (A w_i) + s^2 b_i (A A^T) b_i^T.
at::Tensor row_norms(const at::Tensor& weight, const ops::LoraFactors& f) {
  const c10::AutoGradMode no_gradient(false);
  const auto w = weight.to(at::kFloat), a = f.a.detach(), b = f.b.detach();
  const auto base = at::linalg_vector_norm(w, 2, at::IntArrayRef{1}).square();
  const auto crossed = (at::linear(w, a) * b).sum(1) * (2.0 * f.scale);
  const auto added = (b.matmul(a.matmul(a.t())) * b).sum(1) * (f.scale * f.scale);
  return (base + crossed + added).clamp_min(0).sqrt();
}

/// c starts as the lengths of W's rows, so that nothing changes at first.
void make(const NewAdapter& in, Adapter& out) {
  out.sites = make_lora(in.model, in.lora, in.seed).sites;
  for (const auto& site : in.model.sites()) {
    if (out.sites.contains(site.name))
      out.stored[site.name][kMagnitude] = at::linalg_vector_norm(site.weight.to(at::kFloat), 2, at::IntArrayRef{1});
  }
}

void work_out(const WorkedOut& in, Adapter& out) {
  in.at_sites(kMagnitude, [&](const model::Site& site, const auto& tensors) {
    const auto& m = tensors.at(kMagnitude);
    const auto found = out.sites.find(site.name);
    QUIVER_CHECK(found != out.sites.end() && m.numel() == site.out && found->second.a.size(1) == site.in &&
                     found->second.b.size(0) == site.out,
                 mismatch, "expert " + in.name,
                 "site '{}': a magnitude is for the factors of the same site, one number for each output", site.name);
    auto& extras = out.extras[site.name];
    const auto c = m.reshape({-1}) / row_norms(site.weight, found->second);
    // Before the adapter's own scale and bias: l (c (W x + s B A x) + base bias) + b.
    const auto& l = extras.output_scale;
    if (site.bias.defined()) {
      const auto kept = (1.0 - c) * site.bias.to(at::kFloat) * (l.defined() ? l : at::ones_like(c));
      extras.bias = extras.bias.defined() ? extras.bias + kept : kept;
    }
    extras.output_scale = l.defined() ? l * c : c;
  });
}

}  // namespace

Kind dora_kind() {
  return {.name = "dora",
          .summary = "low-rank factors, and the lengths of the weight's rows",
          .traits = {Trait::low_rank, Trait::output_scale},
          .place = "pair of factors at a site",
          .contains = "lora",
          .options = {"rank", "alpha", "rslora", "dropout", "targets", "init", "share_a"},
          .holds =
              [](const Adapter& a) {
                return std::any_of(a.stored.begin(), a.stored.end(),
                                   [](const auto& entry) { return entry.second.contains(kMagnitude); });
              },
          .make = make,
          .stored = {{kMagnitude, "magnitude", 1}},
          .work_out = work_out};
}

}  // namespace quiver::adapter
