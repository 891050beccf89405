// SPDX-License-Identifier: Apache-2.0
// quiver train --method attempt: a target's prompt over source prompts; --method mpt: one prompt for all tasks.
#include "quiver/cli/train_targets.h"
#include "quiver/training/methods/prompt_training.h"

namespace quiver::cli {

Learned learn_attempt(const TargetRun& run, const routing::RouteSpec& settings, const Target& target,
                      Progress& progress) {
  training::AttemptTraining how;
  how.width = static_cast<std::int64_t>(settings.number("width", static_cast<double>(how.width)));
  how.temperature = settings.number("temperature", how.temperature);
  how.attention_learning_rate = settings.number("attention_rate", how.attention_learning_rate);
  how.norm = settings.flag("norm", how.norm);
  auto attempt = training::start_attempt(sources_of(run, settings), how, run.options.seed);
  const training::RoutedTraining training{run.loaded.model, run.options, progress, "attempt " + target.name};
  Learned out;
  out.result = training::train_attempt(training, attempt, how, target.train, target.validation);
  out.router = routing::save_attempt(target.name, attempt);
  return out;
}

Learned learn_mpt(const TargetRun& run, const routing::RouteSpec&, const Target& target, Progress& progress) {
  auto kind = run.options.kind;
  kind.kinds = {"mpt"};
  kind.tasks = static_cast<std::int64_t>(target.tasks.size());
  Learned out;
  auto prompts = adapter::make_adapter(run.loaded.model, run.options.lora, kind, run.options.seed);
  const training::RoutedTraining training{run.loaded.model, run.options, progress, "mpt " + target.name};
  out.result = training::train_task_prompts(training, prompts, target.train, target.validation);
  out.experts.push_back({target.name, task_names(target), std::move(prompts)});
  return out;
}

}  // namespace quiver::cli
