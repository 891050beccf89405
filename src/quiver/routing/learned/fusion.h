// SPDX-License-Identifier: Apache-2.0
// AdapterFusion (Pfeiffer et al., 2021): at each site a token's state asks which experts' outputs to add.
//
//   e_i = what expert i adds to the site's output y                  i of the bank's experts that touch the site
//   z   = y + sum_i softmax_i((Q y + q) . (K e_i + k) / temperature) V e_i
//
// Q, K and V are trained over experts that stay as they are; V starts as the identity. The experts may be of any kind
// that acts at sites alone: factors, scales, biases, bottlenecks after or beside a site.
#pragma once

#include <map>
#include <memory>

#include "quiver/routing/router.h"
#include "quiver/routing/saved_router.h"

namespace quiver::routing {

struct FusionSite {
  at::Tensor query, query_bias, key, key_bias, value;  ///< [out, out], [out], [out, out], [out], [out, out]
};

struct Fusion {
  std::map<std::int64_t, FusionSite> sites;  ///< by number: those that some expert touches
  double temperature = 1.0;
};

/// Throws Error{unsupported} where an expert has more than factors, scales of outputs, biases and bottlenecks at sites.
void check_fusable(const adapter::Bank& bank);

/// z of states y [T, out] and outputs e_i [n, T, out]. Differentiable.
at::Tensor fused(const at::Tensor& y, const at::Tensor& outputs, const FusionSite& site, double temperature);

/// As a saved router of kind `fusion`: SITE.query.weight, .query.bias, .key.weight, .key.bias, .value.weight.
SavedRouter save_fusion(const std::string& name, const model::Model& model, const adapter::Bank& bank,
                        const Fusion& fusion);
/// Throws Error{format} where tensors of a site are missing or have other shapes than the model's site asks for.
Fusion read_fusion(const SavedRouter& saved, const model::Model& model);

class FusionRouter : public StatelessRouter {
 public:
  FusionRouter(std::shared_ptr<const adapter::Bank> bank, Fusion fusion);
  std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch) const override;

 private:
  std::shared_ptr<const adapter::Bank> bank_;
  std::shared_ptr<const Fusion> fusion_;
};

}  // namespace quiver::routing
