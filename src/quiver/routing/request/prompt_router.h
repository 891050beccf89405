// SPDX-License-Identifier: Apache-2.0
// Quiver's own router: the prompt says which experts fit, once per request, and whether any does.
//
//   w_e = (1 - s) softmax(-d_e^2 / t) + s / N,   s = r^k / (1 + r^k),   r = d_min^2 / edge
//
// with the distances d, their temperature t and the edge of the library's own prompts (PromptClassifier). A prompt
// within the edge gets the expert of its task, or the nearest few where several are near. Beyond it no expert was made
// for the prompt, and the nearest misleads: it gets the mean of all N experts (of the nearest `others` in a large
// library), which keeps what they have in common. From `base_from` edges on their common weight falls as (base_from /
// r)^k, so that a text of another kind comes back to the base model.
//
// ARIADNE (arXiv 2606.19079) and LoRAuter (arXiv 2601.21795) are this with other distances: cosine to the mean of an
// expert's features, and one expert or a few weighted ones.
#pragma once

#include <memory>

#include "quiver/routing/request/prompt_classifier.h"
#include "quiver/routing/request/request_mix.h"
#include "quiver/routing/router.h"

namespace quiver::routing {

struct PromptRouterOptions {
  std::int64_t top_k = 4;    ///< experts of a known prompt at most; 0: all
  std::int64_t others = 32;  ///< experts whose mean a strange prompt gets, the nearest; 0: all
  double sharpness = 12.0;   ///< k, how sudden both changes are
  double base_from = 3.5;    ///< d^2, in edges, from which the base model comes back; 0: never
  double temperature = 0.5;  ///< factor of the fitted temperature; below 1: surer of known tasks than the fit is
  ops::Combine combine = ops::Combine::outputs;
};

void describe(PromptRouterOptions& options, OptionSet& set);

class PromptRouter : public RequestRouter {
 public:
  PromptRouter(std::shared_ptr<const adapter::Bank> bank, const model::Model& model, PromptClassifier classifier,
               PromptRouterOptions options);
  std::vector<std::vector<ops::ExpertWeight>> choose(const std::vector<Request>& requests) const override;

 private:
  model::Model model_;
  PromptClassifier classifier_;
  PromptRouterOptions options_;
};

/// The pairs of one request from its squared distances.
std::vector<ops::ExpertWeight> pairs_of_distances(const std::vector<double>& squares, const PromptClassifier& fitted,
                                                  const PromptRouterOptions& options);

/// Experts with vectors before the prompt cannot be mixed: such a one stays, alone, where its weight is the largest,
/// and leaves its weight to the others where it is not.
std::vector<ops::ExpertWeight> that_mix(std::vector<ops::ExpertWeight> pairs, const adapter::Bank& bank);

/// Nearest mean by cosine: ARIADNE's choice, LoRAuter's weights.
class CosineRouter : public RequestRouter {
 public:
  CosineRouter(std::shared_ptr<const adapter::Bank> bank, const model::Model& model,
               const std::vector<at::Tensor>& features, RequestMixOptions options, ops::Combine combine);
  std::vector<std::vector<ops::ExpertWeight>> choose(const std::vector<Request>& requests) const override;

 private:
  model::Model model_;
  at::Tensor means_;  ///< [E, F], unit length
  RequestMixOptions options_;
};

}  // namespace quiver::routing
