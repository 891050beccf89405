// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/expert_job.h"

#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/base/sha256.h"
#include "quiver/training/flat.h"

namespace quiver::training {
namespace {

std::uint64_t seed_of_name(const std::string& name, std::uint64_t seed) {
  return derive_seed(seed, std::stoull(sha256_hex(name).substr(0, 15), nullptr, 16));
}

}  // namespace

std::string data_key(const ExpertData& data) {
  Sha256 hash;
  hash.add(data.name);
  for (const auto* rows : {&data.train, &data.validation}) {
    hash.add(fmt::format("\n{} rows\n", rows->size()));
    for (const auto& row : *rows) {
      hash.add(fmt::format("{} {} ", row.target_begin, row.weight));
      hash.add(row.ids.data(), row.ids.size() * sizeof(row.ids[0]));
    }
  }
  return hash.hex();
}

ExpertJob::ExpertJob(ExpertData data, const adapter::Adapter& start, const TrainOptions& options)
    : parameters(flattened(start)),
      gradient(at::zeros({parameters.size(0)}, at::kFloat)),
      optimizer(parameters),
      data_(std::move(data)),
      options_(&options),
      seed_(seed_of_name(data_.name, options.seed)),
      adapter_(viewed(start, parameters)),
      best_(parameters.clone()) {
  QUIVER_CHECK(!data_.train.empty(), usage, "expert " + data_.name,
               "no training rows; its task files have no split 'train'");
  std::vector<at::Tensor> gradients;
  adapter::for_each_tensor(viewed(start, gradient), [&](const at::Tensor& t) { gradients.push_back(t); });
  std::size_t next = 0;
  adapter::for_each_tensor(adapter_, [&](at::Tensor& t) {
    t = t.detach().set_requires_grad(true);
    t.mutable_grad() = gradients[next++];
  });
  for (auto& [site, f] : adapter_.sites) {
    if (options.lora.share_a) f.a = f.a.detach();
  }
  const auto rows = static_cast<std::int64_t>(data_.train.size());
  steps_per_epoch_ = (rows + options.batch_rows - 1) / options.batch_rows;
  total_steps_ = steps_per_epoch_ * options.epochs;
  if (options.max_steps > 0) total_steps_ = std::min(total_steps_, options.max_steps);
}

adapter::Adapter ExpertJob::result() const {
  const bool validated = !data_.validation.empty();
  return viewed(adapter_, (validated ? best_ : parameters).clone());
}

std::vector<std::size_t> ExpertJob::next_batch() {
  const auto epoch = progress.step / steps_per_epoch_;
  if (epoch != epoch_of_batches_) {
    std::vector<std::size_t> lengths;
    for (const auto& row : data_.train) lengths.push_back(row.ids.size());
    data::BatchOptions batching;
    batching.batch_rows = static_cast<std::size_t>(options_->batch_rows);
    batching.length_window_batches = static_cast<std::size_t>(options_->length_window);
    batching.shuffle = options_->shuffle;
    batching.seed = derive_seed(seed_, 1);
    batches_ = data::epoch_batches(data_.train.size(), lengths, batching, static_cast<std::uint64_t>(epoch));
    epoch_of_batches_ = epoch;
  }
  return batches_.at(static_cast<std::size_t>(progress.step % steps_per_epoch_));
}

}  // namespace quiver::training
