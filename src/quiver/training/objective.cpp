// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/objective.h"

#include <algorithm>
#include <memory>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/data/batching.h"

namespace quiver::training {
namespace {

/// The batches of one epoch at a time.
class Epochs {
 public:
  Epochs(std::vector<WeightedRow> rows, const TrainOptions& o, std::uint64_t seed)
      : rows_(std::move(rows)), seed_(seed) {
    batching_.batch_rows = static_cast<std::size_t>(o.batch_rows);
    batching_.length_window_batches = static_cast<std::size_t>(o.length_window);
    batching_.shuffle = o.shuffle;
    batching_.seed = derive_seed(seed, 1);
    for (const auto& r : rows_) lengths_.push_back(r.row->ids.size());
  }

  std::int64_t steps() const {
    const auto rows = static_cast<std::int64_t>(rows_.size()), batch = static_cast<std::int64_t>(batching_.batch_rows);
    return (rows + batch - 1) / batch;
  }

  std::vector<WeightedRow> of_step(std::int64_t step) {
    const auto epoch = step / steps();
    if (epoch != epoch_) {
      batches_ = data::epoch_batches(rows_.size(), lengths_, batching_, static_cast<std::uint64_t>(epoch));
      epoch_ = epoch;
    }
    const auto seed = derive_seed(seed_, static_cast<std::uint64_t>(1000 + step));
    std::vector<WeightedRow> out;
    for (const auto number : batches_.at(static_cast<std::size_t>(step % steps()))) {
      out.push_back(rows_[number]);
      out.back().seed = derive_seed(seed, number);
    }
    return out;
  }

 private:
  std::vector<WeightedRow> rows_;
  std::uint64_t seed_;
  data::BatchOptions batching_;
  std::vector<std::size_t> lengths_;
  std::int64_t epoch_ = -1;
  std::vector<std::vector<std::size_t>> batches_;
};

}  // namespace

void train_by_epochs(Lane& lane, std::vector<WeightedRow> rows, const TrainOptions& o, std::uint64_t seed) {
  QUIVER_CHECK(!rows.empty(), usage, lane.name, "no training rows; its task files have no split 'train'");
  const auto epochs = std::make_shared<Epochs>(std::move(rows), o, seed);
  lane.steps_per_epoch = epochs->steps();
  lane.steps = lane.steps_per_epoch * o.epochs;
  if (o.max_steps > 0) lane.steps = std::min(lane.steps, o.max_steps);
  lane.rows = [epochs](std::int64_t step) { return epochs->of_step(step); };
}

}  // namespace quiver::training
