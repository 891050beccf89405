// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/expert_objective.h"

#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <set>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/base/sha256.h"
#include "quiver/training/flat.h"
#include "quiver/training/training_source.h"

namespace quiver::training {
namespace {

std::uint64_t seed_of_name(const std::string& name, std::uint64_t seed) {
  return derive_seed(seed, std::stoull(sha256_hex(name).substr(0, 15), nullptr, 16));
}

/// The tensors of the adapter that train: all, but A where it is shared. They are known by the tensors of `start`,
/// which visits them in the same order.
class Trained {
 public:
  Trained(const adapter::Adapter& start, bool share_a) {
    std::set<const c10::TensorImpl*> fixed;
    for (const auto& [site, f] : start.sites) {
      if (share_a) fixed.insert(f.a.unsafeGetTensorImpl());
    }
    adapter::for_each_tensor(start,
                             [&](const at::Tensor& t) { trains_.push_back(!fixed.contains(t.unsafeGetTensorImpl())); });
  }

  template <typename Visit>
  void for_each(adapter::Adapter& adapter, Visit visit) const {
    std::size_t next = 0;
    adapter::for_each_tensor(adapter, [&](at::Tensor& t) {
      if (trains_[next++]) visit(t);
    });
  }

 private:
  std::vector<bool> trains_;
};

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

ExpertObjective::ExpertObjective(const model::Model& model, const TrainOptions& options)
    : model_(model), options_(options) {}

void ExpertObjective::add(ExpertData data, const adapter::Adapter& start, RunFolder* run) {
  const Trained trained(start, options_.lora.share_a);
  auto adapter = start;
  const auto visit_all = [&](auto visit) { trained.for_each(adapter, visit); };
  ParameterGroup group{"adapter", flattened(visit_all), options_.learning_rate};
  group.decays = flat_decays(visit_all);
  group.gradient = at::zeros_like(group.values);
  point_into(group.gradient, visit_all);
  std::vector<at::Tensor> gradients;
  visit_all([&](const at::Tensor& t) { gradients.push_back(t); });
  point_into(group.values, visit_all);
  std::size_t next = 0;
  visit_all([&](at::Tensor& t) {
    t = t.detach().set_requires_grad(true);
    t.mutable_grad() = gradients[next++];
  });

  const auto lane_number = static_cast<std::int64_t>(lanes_.size());
  const auto& own = *data_.emplace_back(std::make_unique<ExpertData>(std::move(data)));
  auto& lane = lanes_.emplace_back();
  lane.name = "expert " + own.name;
  lane.groups.push_back(std::move(group));
  lane.run = run;
  std::vector<WeightedRow> rows;
  for (const auto& row : own.train) rows.push_back({&row, row.weight, lane_number});
  for (const auto& row : own.validation) lane.validation.push_back({&row, row.weight, lane_number});
  train_by_epochs(lane, std::move(rows), options_, seed_of_name(own.name, options_.seed));
  adapters_.push_back(std::move(adapter));
}

model::BindExperts ExpertObjective::bind(const std::vector<WeightedRow>& rows) {
  if (!bank_) {
    auto bank = std::make_shared<adapter::Bank>(model_);
    for (std::size_t i = 0; i < adapters_.size(); ++i) bank->add(data_[i]->name, adapters_[i]);
    bank_ = std::move(bank);
  }
  std::vector<TrainingRow> own;
  for (const auto& row : rows) own.push_back({row.label, row.seed});
  return bind_training_rows(bank_, std::move(own), c10::GradMode::is_enabled() ? options_.lora.dropout : 0.0);
}

adapter::Adapter ExpertObjective::result(std::size_t lane) const {
  auto out = adapters_[lane];
  adapter::for_each_tensor(out, [](at::Tensor& t) { t = t.detach().clone(); });
  return out;
}

}  // namespace quiver::training
