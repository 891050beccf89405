// SPDX-License-Identifier: Apache-2.0
// Weights of the experts that depend on the place in the model, not on the text: direct weights per expert (MTTL's
// poly_router_dir), learned compositions per layer (LoRA soups, arXiv 2410.13025).
#pragma once

#include "quiver/base/options.h"
#include "quiver/routing/router.h"

namespace quiver::routing {

enum class Granularity { model, layer, site };

struct PlaceWeights {
  Granularity granularity = Granularity::layer;
  bool softmax = false;  ///< weights are softmax(values) over the experts; else the values as they are
  at::Tensor values;     ///< float32 [places, E]; may require a gradient
};

/// granularity, softmax.
void describe(PlaceWeights& options, OptionSet& set);

/// Places of a model at this granularity.
std::int64_t places(const std::vector<model::Site>& sites, Granularity granularity);
std::int64_t place_of(const std::vector<model::Site>& sites, std::int64_t site, Granularity granularity);
/// The weights themselves, [places, E].
at::Tensor weights_of(const PlaceWeights& weights);

class WeightRouter : public StatelessRouter {
 public:
  WeightRouter(std::shared_ptr<const adapter::Bank> bank, PlaceWeights weights, ops::Combine combine);
  std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch) const override;

 private:
  std::shared_ptr<const adapter::Bank> bank_;
  PlaceWeights weights_;
  ops::Combine combine_;
};

}  // namespace quiver::routing
