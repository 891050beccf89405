// SPDX-License-Identifier: Apache-2.0
// How often a route's heaviest expert is a right one.
#pragma once

#include <memory>
#include <vector>

#include "quiver/model/bind_experts.h"
#include "quiver/model/model.h"

namespace quiver::evaluation {

class RoutingAccuracy {
 public:
  /// right: by expert number, 1 where the expert is right for the rows to come, else 0.
  RoutingAccuracy(const model::Model& model, std::vector<float> right);

  /// Experts as `bind` says, listened to where a batch holds prompts. A row keeps its number of `requests`, which are
  /// below `rows`. This object must outlive what is bound.
  model::BindExperts listen(const model::BindExperts& bind, std::size_t rows);

  /// Of each row since the last `listen`, over its tokens and sites; 0 where no expert applied.
  std::vector<double> of_rows() const;
  /// Over all rows so far, by layer; layers where no expert applied count 0.
  std::vector<double> by_layer() const;

 private:
  class Listener;
  struct Share {
    double right = 0.0, tokens = 0.0;
    double value() const { return tokens > 0 ? right / tokens : 0.0; }
  };

  model::Model model_;
  at::Tensor right_;  ///< float32 [E]
  std::vector<Share> rows_, layers_;
};

}  // namespace quiver::evaluation
