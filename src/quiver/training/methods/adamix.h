// SPDX-License-Identifier: Apache-2.0
// AdaMix (Wang et al., 2022): several copies of an adapter that are trained as one and become one.
//
// Each pass draws, for every site, which copy's first map (A, or down) and which copy's second map (B, or up) applies;
// a map may be shared by all copies. Beside the cross-entropy, a second pass under another draw is held close to the
// first: consistency * (KL(p || q) + KL(q || p)) / 2 over the target tokens. What is kept is the copies' mean, an
// adapter as any other.
#pragma once

#include <cstdint>

#include "quiver/adapter/adapter.h"
#include "quiver/training/routed_training.h"

namespace quiver::training {

struct AdaMixOptions {
  std::int64_t copies = 4;
  enum class Share { none, first, second } share = Share::second;
  double consistency = 1.0;  ///< 0: one pass alone
};

/// `start` makes copy i at its start; all have the same shapes. Validation is of the mean, as is what is returned.
adapter::Adapter train_adamix(const RoutedTraining& training, const AdaMixOptions& options,
                              const std::function<adapter::Adapter(std::int64_t copy)>& start,
                              const std::vector<RoutedRow>& train, const std::vector<RoutedRow>& validation,
                              Figures& figures);

/// (KL(p || q) + KL(q || p)) / 2 of softmax(a) and softmax(b), float32 [N, V], mean over rows.
at::Tensor symmetric_divergence(const at::Tensor& a, const at::Tensor& b);

}  // namespace quiver::training
