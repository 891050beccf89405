// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/trainer.h"

#include <algorithm>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/base/sha256.h"
#include "quiver/routing/request/signature.h"
#include "quiver/training/loop.h"
#include "quiver/training/training_source.h"

namespace quiver::training {
namespace {

using nlohmann::json;

std::string run_key(const TrainRequest& request, const ExpertData& data) {
  const auto start = request.start ? " from " + adapter::identity(*request.start) : std::string();
  return sha256_hex(to_json(request.options).dump() + data_key(data) + request.library.fingerprint() + start +
                    std::to_string(static_cast<int>(request.model.dtype())));
}

std::optional<TrainedExpert> already_trained(const TrainRequest& request, const ExpertData& data,
                                             const std::string& key) {
  if (!request.library.contains(data.name)) return std::nullopt;
  const auto info = request.library.info(data.name);
  const bool same = info.training.is_object() && info.training.value("run_key", "") == key;
  QUIVER_CHECK(same || request.replace, usage, "expert " + data.name,
               "the library has one of that name, trained otherwise; choose another --name, or --replace it");
  if (!same) return std::nullopt;
  return TrainedExpert{figures_of(info.training), data.name, request.library.expert_folder(data.name), true};
}

class Session {
 public:
  Session(const TrainRequest& request, std::vector<ExpertData> experts)
      : request_(request), objective_(request.model, request.options) {
    // Locks are taken in one order, so that two sessions that share names cannot wait for each other.
    std::sort(experts.begin(), experts.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    for (auto& data : experts) {
      const auto key = run_key(request_, data);
      auto run =
          std::make_unique<RunFolder>(request_.library.run_folder(data.name), key, request_.replace, request_.progress);
      if (auto done = already_trained(request_, data, key)) {
        keep(std::move(*done));
        continue;
      }
      const auto start = start_of(data);
      objective_.add(std::move(data), start, run.get());
      keys_.push_back(key);
      runs_.push_back(std::move(run));
    }
  }

  std::vector<TrainedExpert> train() {
    if (runs_.empty()) return results_;
    const auto title =
        runs_.size() == 1 ? "train " + objective_.data(0).name : fmt::format("train {} experts", runs_.size());
    Loop loop(objective_, request_.options, request_.progress, title);
    loop.run([&](std::size_t lane, const Figures& figures) { save(lane, figures); });
    std::sort(results_.begin(), results_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return results_;
  }

 private:
  adapter::Adapter start_of(const ExpertData& data) const {
    if (request_.start) return *request_.start;
    const auto of_run = request_.options.lora.share_a ? std::string("shared") : data.name;
    const auto seed =
        derive_seed(request_.options.seed, std::stoull(sha256_hex("init " + of_run).substr(0, 15), nullptr, 16));
    return adapter::make_adapter(request_.model, request_.options.lora, request_.options.kind, seed);
  }

  void save(std::size_t lane, const Figures& figures) {
    const auto& data = objective_.data(lane);
    library::ExpertInfo info;
    info.name = data.name;
    info.tasks = data.tasks;
    info.base_fingerprint = request_.model.fingerprint();
    info.training = {{"run_key", keys_[lane]}, {"options", to_json(request_.options)}, {"rows", data.train.size()}};
    info.training.update(to_json(figures));
    const auto adapter = objective_.result(lane);
    request_.library.save(info, adapter, request_.replace);
    write_signature(data, adapter::identity(adapter));
    runs_[lane]->drop_checkpoint();
    keep({figures, data.name, request_.library.expert_folder(data.name), false});
  }

  void keep(TrainedExpert result) {
    if (request_.trained) request_.trained(result);
    results_.push_back(std::move(result));
  }

  /// What the router `auto` knows the expert by: some of its prompts, spread over all of its rows.
  void write_signature(const ExpertData& data, const std::string& identity) const {
    std::vector<std::vector<std::int32_t>> prompts;
    for (const auto i : routing::signature_rows(data.train.size(), routing::kSignatureRows)) {
      const auto& row = data.train[i];
      if (row.target_begin > 0) prompts.emplace_back(row.ids.begin(), row.ids.begin() + row.target_begin);
    }
    if (!prompts.empty()) routing::write_signature(request_.library, data.name, identity, request_.model, prompts);
  }

  const TrainRequest& request_;
  ExpertObjective objective_;
  std::vector<std::unique_ptr<RunFolder>> runs_;  ///< by lane
  std::vector<std::string> keys_;
  std::vector<TrainedExpert> results_;
};

}  // namespace

double mean_loss(const model::Model& model, std::shared_ptr<const adapter::Bank> bank, std::int64_t expert,
                 const std::vector<data::TokenRow>& rows) {
  std::vector<WeightedRow> all;
  for (const auto& row : rows) all.push_back({&row, row.weight, expert});
  if (expert < 0) return mean_loss(model, all, nullptr);
  return mean_loss(model, all, [&](const std::vector<WeightedRow>& portion) {
    return bind_training_rows(bank, std::vector<TrainingRow>(portion.size(), {expert, 0}), 0.0);
  });
}

void check_free(const TrainRequest& request, const std::vector<ExpertData>& experts) {
  for (const auto& data : experts) {
    library::check_expert_name(data.name);
    already_trained(request, data, run_key(request, data));
  }
}

std::vector<TrainedExpert> train_experts(const TrainRequest& request, std::vector<ExpertData> experts) {
  check(request.options);
  return Session(request, std::move(experts)).train();
}

}  // namespace quiver::training
