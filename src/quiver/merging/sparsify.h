// SPDX-License-Identifier: Apache-2.0
// Which entries of a tensor are kept, and how the rest is made up for. All masks are of the tensor's shape and dtype.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "quiver/merging/merge.h"

namespace quiver::merging {

/// The int(density * n) entries of largest magnitude (TIES, arXiv 2306.01708; PEFT and mergekit).
at::Tensor magnitude_mask(const at::Tensor& t, double density);

/// Without the int(gamma * n) largest and as many of the smallest as leave int(density * n) (Model Breadcrumbs, arXiv
/// 2312.06795, in mergekit's parameters). Where the two shares exceed 1, fewer of the largest are dropped.
at::Tensor breadcrumbs_mask(const at::Tensor& t, double density, double gamma);

/// The (1 - density) quantile of all magnitudes, interpolated linearly: MTTL's TIES keeps entries of at least this.
double magnitude_quantile(const std::vector<at::Tensor>& tensors, double density);

/// The smallest magnitude that KnOTS keeps: number n - int(density * n) of n from below, counted from 1.
double knots_threshold(const std::vector<at::Tensor>& tensors, double density);

/// Chances of being kept: density - epsilon for the smallest magnitude of a row to density + epsilon for the largest,
/// linear in its position (DELLA, arXiv 2406.11617, in mergekit's parameters). density where a row has one entry.
at::Tensor della_chances(const at::Tensor& t, double density, double epsilon);

/// 1 with the given chance, else 0. `chances` float64, any shape.
at::Tensor random_mask(const at::Tensor& chances, std::uint64_t seed);

/// t * mask, made up for as `rescale` says; `chances` are read for Rescale::probability only.
at::Tensor masked(const at::Tensor& t, const at::Tensor& mask, const at::Tensor& chances,
                  MergeOptions::Rescale rescale);

}  // namespace quiver::merging
