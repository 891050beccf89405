// SPDX-License-Identifier: Apache-2.0
// Beam search: the answers of highest probability that a limited breadth finds, as transformers searches with
// early_stopping = False.
//
// A step looks at the (1 + stop tokens) * beams best continuations, of which those among the first `beams` may finish.
// The search ends when no running beam can still beat the worst of `beams` finished ones, or at its longest answer. The
// repetition penalty changes log-probabilities, of tokens of the prompt and of the beam itself, before they are summed.
#pragma once

#include <ATen/core/Tensor.h>

#include "quiver/serving/generate_options.h"

namespace quiver::serving {

struct Beam {
  std::vector<std::int32_t> ids;  ///< without the stop token
  double score = 0.0;             ///< the stop token counted
};

class BeamSearch {
 public:
  /// before: what stands before every answer. longest: tokens of an answer, at least 1.
  BeamSearch(const GenerateOptions& options, std::vector<std::int32_t> before, std::int64_t longest);

  /// A beam one token longer.
  struct Continuation {
    std::size_t parent = 0;  ///< its number among the beams that ran before
    std::int32_t token = 0;
    double sum = 0.0;  ///< of log-probabilities
  };
  /// logits float32 [running beams, V], one beam before the first step. The beams that run from now on; none: the
  /// search is over.
  std::vector<Continuation> step(const at::Tensor& logits);

  /// Best first, at most options.beams.
  const std::vector<Beam>& finished() const { return finished_; }

 private:
  struct Running {
    std::vector<std::int32_t> ids;
    double sum = 0.0;
  };
  at::Tensor sums(const at::Tensor& logits) const;
  std::vector<Continuation> best(const at::Tensor& sums) const;
  std::vector<Continuation> choose(const std::vector<Continuation>& best);
  double score(double sum, std::int64_t tokens) const;
  bool settled(const std::vector<Continuation>& next) const;

  GenerateOptions options_;
  std::vector<std::int32_t> before_;
  std::int64_t longest_;
  std::vector<Running> running_;
  std::vector<Beam> finished_;
};

}  // namespace quiver::serving
