// SPDX-License-Identifier: Apache-2.0
// Experts of several routes in one pass: each has some of the batch's rows, side by side, and sees no others.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "quiver/model/experts.h"
#include "quiver/model/packed_batch.h"

namespace quiver::routing {

/// Rows [first, first + count) of a batch as a batch of their own, over the same caches. What stands for vectors is
/// counted (BatchRow::soft) and not held.
model::PackedBatch rows_of(const model::PackedBatch& batch, std::size_t first, std::size_t count);

/// For passes without gradients: it writes into what it is given.
class JoinedSource : public model::ExpertSource {
 public:
  /// Adds the rows behind those of the parts before; `batch` (rows_of) is what `source` was bound to. source null: the
  /// base model.
  void add(std::unique_ptr<model::PackedBatch> batch, std::unique_ptr<model::ExpertSource> source);

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) override;
  at::Tensor finish(const std::vector<model::SiteColumns>& sites, const at::Tensor& x, at::Tensor y) override;
  at::Tensor norm(std::int64_t number, const at::Tensor& weight) override;
  void keys_values(std::int64_t layer, at::Tensor& keys, at::Tensor& values) override;
  at::Tensor before_answer(std::size_t row) override;

 private:
  struct Part {
    std::int64_t begin = 0;  ///< its first token
    std::unique_ptr<model::PackedBatch> batch;
    std::unique_ptr<model::ExpertSource> source;
    std::int64_t tokens() const { return batch->tokens(); }
  };
  std::vector<Part> parts_;
};

}  // namespace quiver::routing
