// SPDX-License-Identifier: Apache-2.0
// Which expert's training prompts a prompt is like: linear discriminant analysis of signatures.
//
//   d_e^2 = (f - m_e)^T S^-1 (f - m_e)      m_e the mean features of expert e's prompts, S their covariance within
//   experts
//
// Directions in which prompts of one task differ anyway count little, those that tell tasks apart count much. S is
// shrunk towards its diagonal, for there are fewer prompts than features, and no feature varies less than the rounding
// of a pass: the features of one text differ by as much from batch to batch, from type to type, and in a signature. Two
// numbers are fitted on prompts left out in turn (five folds): how near prompts of known tasks stay to an expert, and
// the temperature at which the softmax of -d^2 says how sure the choice is. Where no expert's prompts differ from each
// other nothing tells how near its prompts stay: what is nearer to an expert than half the way to the next one counts
// as its.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace quiver::routing {

struct PromptClassifier {
  at::Tensor whiten;  ///< float32 [F, F]: |f whiten - m whiten|^2 is d^2
  at::Tensor means;   ///< float32 [E, F], whitened
  /// Of 100 prompts of known tasks 99 have a least d^2 below; never less than what rounding alone makes of d^2 = 0.
  double edge = 1.0;
  double temperature = 1.0;  ///< of -d^2
  double accuracy = 0.0;     ///< share of left-out prompts whose nearest expert is their own
};

/// features: [N_e, F] per expert. Throws Error{usage} without experts.
PromptClassifier fit_prompt_classifier(const std::vector<at::Tensor>& features);

/// d^2, float32 [N, E].
at::Tensor distances(const PromptClassifier& classifier, const at::Tensor& features);

}  // namespace quiver::routing
