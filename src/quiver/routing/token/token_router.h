// SPDX-License-Identifier: Apache-2.0
// Routers that choose experts for each token at each site, by scores of the site's input.
//
//   w = softmax(score / temperature) over the k best
//
// The scores differ, the rest is the same: Arrow (arXiv 2405.11157) takes |x . v_e| for the first singular direction
// v_e of each expert, SpectR (arXiv 2504.03454) |s B_e A_e x|, average activation and PhatGoose (arXiv 2402.05859) x .
// p_e for a mean input or a trained gate.
#pragma once

#include "quiver/base/options.h"
#include "quiver/routing/router.h"
#include "quiver/routing/token/site_table.h"

namespace quiver::routing {

/// Scores of all experts at sites that share an input.
class TokenScores {
 public:
  virtual ~TokenScores() = default;
  /// x: [T, in] of any dtype -> float32 [T, sites * E].
  virtual at::Tensor at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) const = 0;
};

enum class Norm {
  none,
  unit,   ///< x / |x|
  layer,  ///< centred and scaled to unit variance
};

struct DirectionScoreOptions {
  Norm input_norm = Norm::none;
  Norm direction_norm = Norm::none;
  bool signed_score = false;  ///< keep the sign of x . v; with one direction per expert only
  bool centred = false;       ///< less the mean over the experts, so that what all experts share does not count
};

void describe(DirectionScoreOptions& options, OptionSet& set);
/// `input_norm` alone.
void describe_input_norm(OptionSet& set, Norm& value);

/// |(v_1 . x, ..., v_J . x)| over the J directions of each expert; J = 1: |v . x|, or v . x where signed.
class DirectionScores : public TokenScores {
 public:
  /// table: J * experts rows per site, those of an expert side by side.
  DirectionScores(SiteTable table, std::int64_t experts, DirectionScoreOptions options);
  at::Tensor at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) const override;
  const SiteTable& table() const { return table_; }

 private:
  SiteTable table_;
  std::int64_t experts_;
  DirectionScoreOptions options_;
};

/// SEQR (Fleshman and Van Durme, 2025): |R_e (A x)| where all experts share A and B_e = Q_e R_e. The same scores as
/// SpectR's, from R x R matrices.
class SharedInputScores : public TokenScores {
 public:
  /// Throws Error{usage} naming the first expert and site whose A differs.
  explicit SharedInputScores(const adapter::Bank& bank);
  at::Tensor at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) const override;

 private:
  std::int64_t experts_;
  std::vector<at::Tensor> a_;     ///< per site [R, in]; undefined where no expert touches it
  std::vector<at::Tensor> root_;  ///< per site [E * R, R]
};

struct TokenMixOptions {
  std::int64_t top_k = 3;     ///< experts per token; 0: all
  double top_p = 1.0;         ///< below 1: the fewest of them that reach it together
  double temperature = 1.0;   ///< scores are divided by it; 0: by sqrt(in)
  bool share_of_all = false;  ///< weights from a softmax over all experts, not over those kept
  ops::Combine combine = ops::Combine::outputs;
  /// The scores come from the experts' low-rank factors: at a site only experts that have some are chosen.
  bool by_factors = false;
};

void describe(TokenMixOptions& options, OptionSet& set);
/// top_k, temperature, combine: what a route may say of trained gates.
void describe_gate_mix(TokenMixOptions& options, OptionSet& set);
/// share_of_all: by which gates are trained too.
void describe_share_of_all(TokenMixOptions& options, OptionSet& set);

/// Mixes all that an expert has at a site. An expert that has nothing there is never chosen, and where none has, the
/// base model's output stands.
class TokenRouter : public StatelessRouter {
 public:
  /// Throws Error{unsupported} where an expert has what no choice by token can apply.
  TokenRouter(std::shared_ptr<const adapter::Bank> bank, std::shared_ptr<const TokenScores> scores,
              TokenMixOptions options);
  std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch) const override;

 private:
  friend class TokenSource;
  std::shared_ptr<const adapter::Bank> bank_;
  std::shared_ptr<const TokenScores> scores_;
  TokenMixOptions options_;
  std::vector<at::Tensor> absent_;  ///< by site: bool [E], the experts that are not chosen there; undefined: none
  std::vector<bool> any_;           ///< by site: whether an expert can be chosen
};

/// x with the norm asked for, float32.
at::Tensor normalised(const at::Tensor& x, Norm norm);

}  // namespace quiver::routing
