// SPDX-License-Identifier: Apache-2.0
// Arrow (Ostapenko et al., 2024, arXiv 2405.11157): each token at each site goes to the experts whose prototypes its
// input is most aligned with, without any training.
//
//   score_e = |x . p_e|;  keep the top k;  w = softmax(score / temperature) over those kept
//
// The defaults are those of PEFT's port (top_k 3, temperature 1, combine = outputs, x as it is); MTTL's code keeps all
// experts and combines factors: arrow:top_k=all,combine=factors.
#pragma once

#include "quiver/routing/router.h"

namespace quiver::routing {

struct ArrowOptions {
  std::int64_t top_k = 3;    ///< experts per token; 0: all
  double temperature = 1.0;  ///< scores are divided by it; 0: by sqrt(in)
  enum class InputNorm { none, unit, layer };
  InputNorm input_norm = InputNorm::none;  ///< unit: x / |x|; layer: centred and scaled to unit variance
  bool signed_score = false;               ///< keep the sign of x . p (a singular vector's sign is arbitrary)
  ops::Combine combine = ops::Combine::outputs;
};

/// The prototypes of all sites in one piece of memory, in the order of the sites: those of sites that share an input
/// (q, k, v; gate, up) are one matrix without a copy.
class PrototypeTable {
 public:
  /// of_sites: per site [E, in].
  explicit PrototypeTable(const std::vector<at::Tensor>& of_sites);
  /// float32 [sites * E, in] of neighbouring sites of one input.
  at::Tensor side_by_side(const std::vector<model::SiteColumns>& sites) const;

 private:
  struct Shape {
    std::int64_t offset, experts, in;
  };
  at::Tensor all_;
  std::vector<Shape> shapes_;
};

class ArrowRouter : public Router {
 public:
  /// prototypes: per site of the bank's model, float32 [E, in].
  ArrowRouter(std::shared_ptr<const adapter::Bank> bank, const std::vector<at::Tensor>& prototypes,
              ArrowOptions options);
  std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch,
                                            const std::vector<std::string>&) const override;

 private:
  friend class ArrowSource;
  std::shared_ptr<const adapter::Bank> bank_;
  PrototypeTable prototypes_;
  ArrowOptions options_;
};

}  // namespace quiver::routing
