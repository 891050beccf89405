// SPDX-License-Identifier: Apache-2.0
// --method attempt: a task's prompt over source prompts; --method mpt: one prompt for all tasks.
#include "quiver/adapter/task_prompts.h"
#include "quiver/training/methods/library_method.h"
#include "quiver/training/methods/prompt_training.h"
#include "quiver/training/methods/table.h"

namespace quiver::training {
namespace {

std::vector<std::string> attempt_reads(const MethodOptions&) {
  auto out = common_options();
  const auto more = library_options();
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

std::vector<std::string> mpt_reads(const MethodOptions& options) {
  auto out = attempt_reads(options);
  out.insert(out.end(), {"prompt_tokens", "prompt_rank"});
  return out;
}

class AttemptMethod : public LibraryMethod {
 public:
  AttemptMethod() : LibraryMethod("attempt", attempt_reads) {}

  void describe(OptionSet& set) override {
    set.texts("sources", sources_, "experts of the library, which are prompts")
        .integer("width", how_.width, at_least(1), "of the attention's inner layer")
        .number("temperature", how_.temperature, at_least(0), "of the attention; 0: the prompt's width times e")
        .number("attention_rate", how_.attention_learning_rate, at_least(0), "of the attention; 0: that of the prompt")
        .flag("norm", how_.norm, "train the attention's norm too");
  }
  std::vector<std::string> sources() const override { return sources_; }

 protected:
  bool makes_router() const override { return true; }
  std::vector<std::string> expert_names(const MethodInputs&, const Assignment&) const override { return {}; }

  Taught learn(const MethodInputs& inputs, const Assignment& assignment, const RoutedTraining& training) override {
    auto attempt = start_attempt(sources_of(inputs, sources_), how_, inputs.options.train.seed);
    Taught out;
    out.figures = train_attempt(training, attempt, how_, labelled_rows(assignment.tasks, data::Split::train),
                                labelled_rows(assignment.tasks, data::Split::validation));
    out.router = routing::save_attempt(assignment.name, attempt);
    return out;
  }

 private:
  AttemptTraining how_;
  std::vector<std::string> sources_;
};

class MptMethod : public LibraryMethod {
 public:
  MptMethod() : LibraryMethod("mpt", mpt_reads) {}

 protected:
  bool makes_router() const override { return false; }
  std::vector<std::string> expert_names(const MethodInputs&, const Assignment& assignment) const override {
    return {assignment.name};
  }

  Taught learn(const MethodInputs& inputs, const Assignment& assignment, const RoutedTraining& training) override {
    auto kind = inputs.options.train.kind;
    kind.of<adapter::TaskPromptOptions>().tasks = static_cast<std::int64_t>(assignment.tasks.size());
    auto prompts = adapter::make_adapter(inputs.model, {}, kind, inputs.options.train.seed);
    Taught out;
    out.figures = train_task_prompts(training, prompts, labelled_rows(assignment.tasks, data::Split::train),
                                     labelled_rows(assignment.tasks, data::Split::validation));
    out.experts.push_back({assignment.name, task_names(assignment), std::move(prompts)});
    return out;
  }
};

}  // namespace

MethodEntry attempt_method() {
  return {.name = "attempt",
          .summary = "ATTEMPT: a task's prompt by attention over source prompts",
          .reads = attempt_reads,
          .make = [] { return std::unique_ptr<Method>(std::make_unique<AttemptMethod>()); }};
}

MethodEntry mpt_method() {
  return {.name = "mpt",
          .summary = "multitask prompt tuning: one prompt for all tasks",
          .reads = mpt_reads,
          .settle = [](MethodOptions& options, const OptionSet&) { options.kinds = {"mpt"}; },
          .make = [] { return std::unique_ptr<Method>(std::make_unique<MptMethod>()); }};
}

}  // namespace quiver::training
