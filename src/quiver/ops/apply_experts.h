// SPDX-License-Identifier: Apache-2.0
// The one operation behind every mode of applying experts.
//
// For each token t and its pairs (e, w) of the mix, with LoRA factors A_e [R_e, in], B_e [out, R_e] and scale s_e:
//   combine = outputs:  y_t += sum_e w_e s_e B_e (A_e x_t)
//   combine = factors:  u_t  = sum_e w_e A_e x_t,   y_t += sum_e w_e s_e B_e u_t   (cross terms included)
// `factors` is the "merge before" of MTTL (arXiv 2405.11157); both orders gather the same experts of a token, at their
// true ranks (with `factors`, u has the largest rank and a smaller B reads its first R_e entries), and neither builds
// per-token matrices. The operation is differentiable in x, y, the weights and the factors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "quiver/ops/dropout.h"
#include "quiver/ops/mix.h"
#include "quiver/ops/site_extras.h"

namespace quiver::ops {

/// One expert's factors at a site. `a` undefined: the expert does not touch the site.
struct LoraFactors {
  at::Tensor a;  ///< [R, in]
  at::Tensor b;  ///< [out, R]
  double scale = 1.0;
};

/// The experts of a bank at one site, by expert number.
struct BankSite {
  std::vector<LoraFactors> experts;
  std::vector<SiteExtras> extras;  ///< empty where no expert has any
};

enum class Combine { outputs, factors };

/// A site that reads x and writes columns [out_begin, out_begin + out_count) of y. Sites of a fused weight share x and
/// y.
struct SiteUse {
  const BankSite* bank = nullptr;
  std::shared_ptr<const Mix> mix;
  std::int64_t out_begin = 0;
  std::int64_t out_count = 0;
  Combine combine = Combine::outputs;
  DropoutPlan dropout;          ///< training only: applied to x on its way into A
  at::Tensor block_input = {};  ///< [T, D]: what the block reads that the site ends; where Reads::block asks for it
};

/// Adds the experts to `y` in place, their extras (site_extras.h) after their factors, and returns it. x: [T, in], y:
/// [T, out], both of the compute dtype (float32 or bfloat16); factors of another dtype are converted, their gradients
/// keep their own dtype. Throws Error{mismatch} where shapes or expert numbers do not fit.
at::Tensor apply_experts(const at::Tensor& x, at::Tensor y, const std::vector<SiteUse>& sites);

/// True where experts scale what some site reads, so that sites that share x do not read the same.
bool scale_inputs(const std::vector<SiteUse>& sites);
/// x as one site reads it: scaled where experts scale its input.
at::Tensor scaled_input(const at::Tensor& x, const SiteUse& site);

/// y after the extras of the sites' experts (site_extras.h), by plain differentiable calls, out of place.
at::Tensor apply_extras(const at::Tensor& x, const at::Tensor& y, const std::vector<SiteUse>& sites);
bool has_extras(const std::vector<SiteUse>& sites);

/// The same by plain differentiable ATen calls, out of place: the specification and the oracle of tests.
at::Tensor apply_experts_reference(const at::Tensor& x, const at::Tensor& y, const std::vector<SiteUse>& sites);

}  // namespace quiver::ops
