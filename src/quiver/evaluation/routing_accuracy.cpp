// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/routing_accuracy.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <numeric>

namespace quiver::evaluation {

/// Passes requests on and counts.
class RoutingAccuracy::Listener : public model::PassingOn {
 public:
  Listener(std::unique_ptr<model::ExpertSource> source, const model::PackedBatch& batch,
           std::vector<std::size_t> requests, RoutingAccuracy& sums)
      : PassingOn(source.get()),
        source_(std::move(source)),
        batch_(batch),
        requests_(std::move(requests)),
        sums_(sums) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override {
    auto uses = PassingOn::at(sites, x);
    for (const auto& use : uses) count(use.mix, layer_of(sites.front().site));
    return uses;
  }

 private:
  std::size_t layer_of(std::int64_t site) const {
    return static_cast<std::size_t>(sums_.model_.sites()[static_cast<std::size_t>(site)].layer);
  }

  void count(const std::shared_ptr<const ops::Mix>& mix, std::size_t layer) {
    if (mix != last_) {
      const c10::AutoGradMode no_gradient(false);
      const auto dense = ops::dense_weights(*mix, sums_.right_.numel());
      const auto heaviest = ((dense == dense.amax(1, true)) & (dense > 0)).to(at::kFloat);
      add_up((heaviest * sums_.right_).sum(1) / heaviest.sum(1).clamp_min(1.0));
      last_ = mix;
    }
    for (std::size_t i = 0; i < shares_.size(); ++i) {
      for (auto* sum : {&sums_.rows_[requests_[i]], &sums_.layers_[layer]}) {
        sum->right += shares_[i].right;
        sum->tokens += shares_[i].tokens;
      }
    }
  }

  /// The share of each of the batch's rows, of its tokens' [T].
  void add_up(const at::Tensor& right) {
    const auto values = right.to(at::kCPU, at::kDouble).contiguous();
    const double* of = values.const_data_ptr<double>();
    shares_.clear();
    for (const auto& row : batch_.rows)
      shares_.push_back(
          {std::accumulate(of + row.begin, of + row.begin + row.count, 0.0), static_cast<double>(row.count)});
  }

  std::unique_ptr<model::ExpertSource> source_;
  const model::PackedBatch& batch_;
  std::vector<std::size_t> requests_;
  RoutingAccuracy& sums_;
  std::shared_ptr<const ops::Mix> last_;  ///< many sites share one; held, so that no other takes its address
  std::vector<Share> shares_;             ///< of that mix, by row
};

RoutingAccuracy::RoutingAccuracy(const model::Model& model, std::vector<float> right)
    : model_(model), right_(at::tensor(right, at::kFloat)), layers_(static_cast<std::size_t>(model.config().layers)) {}

model::BindExperts RoutingAccuracy::listen(const model::BindExperts& bind, std::size_t rows) {
  rows_.assign(rows, {});
  const auto listening = [this, bind](
                             const model::PackedBatch& batch,
                             const std::vector<std::size_t>& requests) -> std::unique_ptr<model::ExpertSource> {
    auto source = bind(batch, requests);
    if (batch.part != model::Part::prompt || !source) return source;
    return std::make_unique<Listener>(std::move(source), batch, requests, *this);
  };
  return {listening, bind.soft_prompts()};
}

std::vector<double> RoutingAccuracy::of_rows() const {
  std::vector<double> out;
  for (const auto& share : rows_) out.push_back(share.value());
  return out;
}

std::vector<double> RoutingAccuracy::by_layer() const {
  std::vector<double> out;
  for (const auto& share : layers_) out.push_back(share.value());
  return out;
}

}  // namespace quiver::evaluation
