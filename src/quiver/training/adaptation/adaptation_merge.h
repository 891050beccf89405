// SPDX-License-Identifier: Apache-2.0
// One adapter out of a bank's experts, as a start for a new task.
//
// `weights` are float32 [sites, E] in the order of the bank's sites and experts. The adapters made have scale 1.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "quiver/adapter/bank.h"

namespace quiver::training {

/// weights[e] at every site.
at::Tensor site_weights(const adapter::Bank& bank, const std::vector<double>& weights);

/// A = sum_e w_e A_e, B = sum_e w_e s_e B_e (LoraHub's and MTTL's linear merge, cross terms included), smaller factors
/// filled up with zeros to the largest rank of the site.
adapter::Adapter merge_factors(const adapter::Bank& bank, const at::Tensor& weights);

/// B A = sum_e w_e s_e B_e A_e exactly: factors side by side, of rank sum_e R_e.
adapter::Adapter merge_products(const adapter::Bank& bank, const at::Tensor& weights);

/// The nearest adapter of rank at most `rank`, site by site (merging/low_rank.h).
adapter::Adapter truncated(const adapter::Adapter& adapter, std::int64_t rank);

}  // namespace quiver::training
