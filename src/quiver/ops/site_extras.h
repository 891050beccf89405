// SPDX-License-Identifier: Apache-2.0
// What an expert does at a site beside low-rank factors: scales (IA3), a bias (BitFit), bottlenecks.
//
// y holds the base model's output with the low-rank terms of all experts. For a token's pairs (e, w), in this order:
//   y *= 1 + sum_e w_e (l_e - 1)                                     output_scale l
//   y += sum_e w_e (b_e + s_e up_e(f(down_e(x))))                    bias b, bottleneck beside the site (or its block)
//   y += sum_e w_e s_e up_e(f(down_e(y)))                            bottleneck after the site
// and x is multiplied by 1 + sum_e w_e (l_e - 1) on its way into the base model's map, for input_scale. So one expert
// of weight 1 is the adapter as it was trained, and weights mix what each would change.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace quiver::ops {

enum class Nonlinearity { none, relu, gelu, gelu_tanh, silu, tanh };
/// What a bottleneck reads: the site's output (in series), its input (in parallel), or what the attention or
/// feed-forward block reads that the site ends (in parallel to the block).
enum class Reads { output, input, block };

/// x -> s (U f(D x + d) + u) (Houlsby et al., 2019; He et al., 2022).
struct Bottleneck {
  at::Tensor down, up;            ///< D [M, in], U [out, M]
  at::Tensor down_bias, up_bias;  ///< d [M], u [out]; undefined: none
  double scale = 1.0;
  Nonlinearity nonlinearity = Nonlinearity::relu;
  Reads reads = Reads::output;
};

struct SiteExtras {
  at::Tensor input_scale;   ///< [in], or undefined
  at::Tensor output_scale;  ///< [out], or undefined
  at::Tensor bias;          ///< [out], or undefined
  std::optional<Bottleneck> bottleneck;
  bool empty() const {
    return !input_scale.defined() && !output_scale.defined() && !bias.defined() && !bottleneck.has_value();
  }
};

at::Tensor apply(Nonlinearity nonlinearity, const at::Tensor& x);
/// By plain differentiable calls: [T, in] -> [T, out].
at::Tensor apply(const Bottleneck& bottleneck, const at::Tensor& x);

}  // namespace quiver::ops
