// SPDX-License-Identifier: Apache-2.0
// MoA, the mixture of LoRAs (arXiv 2403.03432): a classifier before each layer picks one domain's expert for the whole
// text, from the prompt, once.
//
// The classifiers see what layers read (normed inputs), pooled over the prompt. They are fitted with domain labels
// while the layers before run under the right expert (teacher forcing), so that with frozen experts each is a logistic
// regression by itself and the language-model loss has no part in it. In use each layer runs under the expert chosen
// for it, so later classifiers see what earlier choices made; the choice is made in a pass over the prompts alone and
// kept for the answer.
#pragma once

#include <map>
#include <memory>

#include "quiver/base/options.h"
#include "quiver/routing/request/domain_classifier.h"
#include "quiver/routing/router.h"

namespace quiver::routing {

/// What has a classifier of its own.
enum class MoaPlaces {
  layer,  ///< each layer that prompts pass
  site,   ///< each input of linear maps (q, k and v share theirs)
  once,   ///< the middle layer alone; it speaks for all
};
/// How a prompt's states become one.
enum class Pooling { last, mean, first };
/// Whose choice counts. Layers without a classifier take the sum's.
enum class Vote {
  own,       ///< each place for itself
  first,     ///< the first place, for all
  majority,  ///< the expert that most places choose
  sum,       ///< the largest sum of log-probabilities over places
};

struct MoaShape {
  MoaPlaces places = MoaPlaces::layer;
  Pooling pooling = Pooling::last;
  bool forced = false;  ///< prompts run under experts, the right ones in fitting and those chosen in use
};

void describe(MoaShape& shape, OptionSet& set);

/// A place by what it is known by: a layer's number, or the number of the first site that shares an input.
using Classifiers = std::map<std::int64_t, DomainClassifier>;
/// Pooled states of prompts, [N, F] by place.
using PlaceStates = std::map<std::int64_t, at::Tensor>;

/// The states of each prompt at each place. Where the shape is forced, row i runs under expert experts[i].
PlaceStates moa_features(const model::Model& model, const std::shared_ptr<const adapter::Bank>& bank,
                         const MoaShape& shape, const std::vector<std::vector<std::int32_t>>& prompts,
                         const std::vector<std::int64_t>& experts);

struct MoaOptions {
  Vote vote = Vote::sum;
  /// A choice of less probability than this (for a majority: of fewer places) is the base model's. 0: never.
  double abstain = 0.0;
  ops::Combine combine = ops::Combine::outputs;
};

void describe(MoaOptions& options, OptionSet& set);

class MoaRouter : public Router {
 public:
  MoaRouter(std::shared_ptr<const adapter::Bank> bank, const model::Model& model, MoaShape shape,
            Classifiers classifiers, MoaOptions options);
  std::unique_ptr<Sessions> sessions() const override;

  static constexpr std::int64_t kBase = -1;
  /// One request's experts: by place, and anywhere else.
  struct Decision {
    std::map<std::int64_t, std::int64_t> by_place;
    std::int64_t elsewhere = kBase;
  };
  std::vector<Decision> decide(const std::vector<Request>& requests) const;

 private:
  class MoaSessions;
  std::shared_ptr<const adapter::Bank> bank_;
  model::Model model_;
  MoaShape shape_;
  Classifiers classifiers_;
  MoaOptions options_;
};

/// Log-probabilities [places, E] of one request as its decision.
MoaRouter::Decision decision_of(const std::vector<std::int64_t>& places, const at::Tensor& log_probabilities,
                                const MoaOptions& options);

}  // namespace quiver::routing
