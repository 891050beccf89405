// SPDX-License-Identifier: Apache-2.0
// --method lora: experts of every kind, one after another or together; --method pemt-source: the same as PEMT's first
// stage has them.
#include "quiver/adapter/describe_options.h"
#include "quiver/adapter/peft.h"
#include "quiver/adapter/task_prompts.h"
#include "quiver/base/error.h"
#include "quiver/training/methods/method.h"
#include "quiver/training/methods/table.h"
#include "quiver/training/trainer.h"

namespace quiver::training {
namespace {

constexpr const char* kPemtSource = "pemt-source";

std::vector<std::string> experts_read(const MethodOptions&) {
  auto out = common_options();
  const auto more = library_options();
  out.insert(out.end(), more.begin(), more.end());
  out.insert(out.end(), {"clusters", "together"});
  return out;
}

std::vector<std::string> lora_reads(const MethodOptions& options) {
  auto out = experts_read(options);
  out.push_back("init_from");
  if (!options.init_from.empty()) {
    out.push_back("dropout");  // all else is what the adapter has
    return out;
  }
  const auto more = adapter::options_of(options.train.kind.kinds);
  out.insert(out.end(), more.begin(), more.end());
  out.push_back("kind");
  return out;
}

std::vector<std::string> pemt_source_reads(const MethodOptions& options) {
  auto out = experts_read(options);
  const auto more = adapter::options_of({"lora", "prompt"});
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

class ExpertsMethod : public Method {
 public:
  void check(const MethodInputs& inputs, const std::vector<Assignment>& assignments) override {
    read_start(inputs);
    check_free(request(inputs), data_of(assignments));
  }

  void train(const MethodInputs& inputs, std::vector<Assignment> assignments) override {
    train_experts(request(inputs), data_of(assignments));
  }

 private:
  void read_start(const MethodInputs& inputs) {
    options_ = inputs.options.train;
    if (inputs.options.method == kPemtSource && options_.lora.targets.empty())
      options_.lora.targets = inputs.model.site_endings(model::Role::down);
    if (inputs.options.init_from.empty()) return;
    start_ = adapter::for_new_task(adapter::read_peft(inputs.options.init_from));
    const double dropout = inputs.given.given("dropout") ? options_.lora.dropout : start_->options.dropout;
    options_.lora = start_->options;
    options_.lora.dropout = start_->options.dropout = dropout;
    options_.kind.kinds = adapter::kinds_of(*start_);
  }

  TrainRequest request(const MethodInputs& inputs) const {
    const auto learned = [&inputs](const TrainedExpert& e) {
      inputs.learned({"expert", e.name, e, e.already_there, e.path, "expert:" + e.name});
    };
    return {inputs.model,    *inputs.library,        options_,
            inputs.progress, inputs.options.replace, start_ ? &*start_ : nullptr,
            learned};
  }

  static std::vector<ExpertData> data_of(const std::vector<Assignment>& assignments) {
    std::vector<ExpertData> out;
    for (const auto& assignment : assignments) {
      auto& data = out.emplace_back();
      data.name = assignment.name;
      for (const auto& task : assignment.tasks) {
        data.tasks.push_back(task.name);
        data.train.insert(data.train.end(), task.train.begin(), task.train.end());
        data.validation.insert(data.validation.end(), task.validation.begin(), task.validation.end());
      }
    }
    return out;
  }

  TrainOptions options_;
  std::optional<adapter::Adapter> start_;
};

std::unique_ptr<Method> make() { return std::make_unique<ExpertsMethod>(); }

}  // namespace

MethodEntry lora_method() {
  return {.name = "lora",
          .summary = "experts of the kinds that --kind names",
          .reads = lora_reads,
          .settle = [](MethodOptions& options, const OptionSet& given) { adapter::settle(options.train.lora, given); },
          .make = make};
}

MethodEntry pemt_source_method() {
  return {.name = kPemtSource,
          .summary = "PEMT's first stage: low-rank factors at the second feed-forward map, and a prompt",
          .reads = pemt_source_reads,
          .settle =
              [](MethodOptions& options, const OptionSet& given) {
                adapter::settle(options.train.lora, given);
                options.kinds = {"lora", "prompt"};
              },
          .make = make};
}

}  // namespace quiver::training
