// SPDX-License-Identifier: Apache-2.0
// --method full: every weight of the model, in one run over all tasks, into a folder.
#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/training/expert_objective.h"
#include "quiver/training/methods/full_training.h"
#include "quiver/training/methods/model_folder.h"
#include "quiver/training/methods/table.h"

namespace quiver::training {
namespace {

std::vector<std::string> reads(const MethodOptions&) {
  auto out = common_options();
  std::erase(out, "recompute");
  out.push_back("output");
  return out;
}

class FullMethod : public Method {
 public:
  void check(const MethodInputs& inputs, const std::vector<Assignment>& assignments) override {
    QUIVER_CHECK(fs::is_directory(inputs.model_path), unsupported, "--method full",
                 "every weight can be trained in a Hugging Face folder, and the model is the file {}",
                 inputs.model_path.string());
    if (!saved_model(inputs.options.output, key_of(inputs, assignments.at(0)))) check_model_output(output_of(inputs));
  }

  void train(const MethodInputs& inputs, std::vector<Assignment> assignments) override {
    const auto key = key_of(inputs, assignments.at(0));
    const auto output = output_of(inputs);
    RunFolder run(output.path / "run", key, inputs.options.replace, inputs.progress);
    Learned out{"output", inputs.options.output, {}, false, output.path, ""};
    if (const auto before = saved_model(output.path, key)) {
      out.figures = *before;
      out.already_there = true;
      return inputs.learned(out);
    }
    std::vector<data::TokenRow> train, validation;
    for (auto& task : assignments.at(0).tasks) {
      train.insert(train.end(), task.train.begin(), task.train.end());
      validation.insert(validation.end(), task.validation.begin(), task.validation.end());
    }
    auto model = model::TrainableModel::open(inputs.model_path);
    out.figures =
        train_full(model, {inputs.options.train, "train every weight", &run}, train, validation, inputs.progress);
    save_model(output, model, inputs.model_path, key, out.figures);
    run.drop_checkpoint();
    out.more["parameters"] = model.parameters.numel();
    inputs.learned(out);
  }

 private:
  static OutputFolder output_of(const MethodInputs& inputs) {
    return model_output(inputs.options.output, inputs.options.replace, {inputs.model_path});
  }
  static std::string key_of(const MethodInputs& inputs, const Assignment& assignment) {
    std::string data;
    for (const auto& task : assignment.tasks) data += data_key({task.name, {}, task.train, task.validation});
    return sha256_hex(deciding_options(inputs.options, reads(inputs.options)).dump() +
                      to_json(inputs.options.train.join).dump() + inputs.model.fingerprint() + data);
  }
};

}  // namespace

MethodEntry full_method() {
  return {.name = "full",
          .summary = "every weight of the model, in one run over all tasks, into --output",
          .reads = reads,
          .joint = true,
          .makes_model = true,
          .make = [] { return std::unique_ptr<Method>(std::make_unique<FullMethod>()); }};
}

}  // namespace quiver::training
