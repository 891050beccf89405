// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/method_options.h"

#include <algorithm>

#include "quiver/adapter/describe_options.h"
#include "quiver/base/strings.h"

namespace quiver::training {

void describe(routing::SkillOptions& o, OptionSet& set) {
  using Granularity = routing::SkillOptions::Granularity;
  using Normalisation = routing::SkillOptions::Normalisation;
  set.group("skills")
      .integer("skills", o.skills, at_least(1), "LoRA that all tasks share")
      .integer("splits", o.splits, at_least(1), "parts of each site composed apart; above 1: MHR")
      .choice("granularity", o.granularity,
              {{"site", Granularity::site}, {"layer", Granularity::layer}, {"model", Granularity::model}},
              "what has a selector of its own")
      .choice("normalisation", o.normalisation,
              {{"share", Normalisation::share}, {"corrected", Normalisation::corrected}, {"unit", Normalisation::unit}},
              "weights of skills")
      .flag("shared_skill", o.shared_skill, "the last skill is part of every task")
      .number("epsilon", o.epsilon, at_least(0), "added to what the weights of skills are divided by");
}

void describe(SkillTraining& o, OptionSet& set) {
  set.group("skills")
      .number("selector_learning_rate", o.selector_learning_rate, above(0), "of the logits of skills")
      .number("skill_learning_rate", o.skill_learning_rate, above(0), "of the skills; --learning-rate says the same")
      .flag("relaxed_bernoulli", o.noise.relaxed_bernoulli, "logistic noise on the logits in training")
      .flag("straight_through", o.noise.straight_through, "skills on or off in training")
      .number("selector_dropout", o.noise.dropout, from_to_below(0, 1), "of the use of skills");
}

namespace {

std::vector<std::string> adapter_kinds() {
  std::vector<std::string> out;
  for (const auto& kind : adapter::kind_help()) out.push_back(kind.name);
  return out;
}

}  // namespace

void describe(MethodOptions& o, OptionSet& set) {
  set.group("results")
      .text("library", o.library, "the library that gets experts and routers; made where there is none")
      .text("output", o.output, "the folder that gets a model (--method full)")
      .text("name", o.name, "one result of this name for all tasks; without it one per task, named after it")
      .text("clusters", o.clusters, "a clustered library: one expert per cluster of its experts' tasks")
      .text("init_from", o.init_from, "a PEFT folder to go on from")
      .text("prompt_text", o.prompt_text, "a text whose tokens' embeddings the prompt starts as")
      .flag("together", o.together, "train all experts at once, each row under its own")
      .flag("replace", o.replace, "overwrite results of the same names, and drop checkpoints of other runs of them")
      .flag("allow_other_base", o.allow_other_base, "add to a library over another base model");
  set.group("rows")
      .integer("limit", o.limit, at_least(0), "training rows of each task; 0: all")
      .integer("validation_limit", o.validation_limit, at_least(0), "validation rows of each task; 0: all");
  describe(o.train, set);
  describe(o.train.lora, set);
  set.group("kinds").texts("kind", o.kinds,
                           join(adapter_kinds(), ", ") + "; several, parted by commas, make one adapter");
  describe(o.train.kind, set);
  set.group("tasks")
      .number("task_temperature", o.task_temperature, at_least(1),
              "rows of a task ~ n^(1/T); 1: each row once an epoch")
      .flag("equal_tasks", o.equal_tasks, "tasks count alike, whatever their number of tokens")
      .flag("fold", o.fold, "also keep each task's composition as an expert NAME.TASK");
  describe(o.skills, set);
  describe(o.skill_training, set);
}

void choose_kinds(MethodOptions& options) {
  auto& kinds = options.train.kind.kinds;
  kinds.clear();
  for (const auto& name : options.kinds) {
    adapter::check_kind_name(name);
    kinds.insert(name);
  }
}

std::vector<std::string> options_of_groups(const std::vector<std::string>& groups) {
  static const std::vector<std::pair<std::string, std::string>> all = [] {
    MethodOptions options;
    OptionSet set;
    describe(options, set);
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& option : set.options()) out.emplace_back(option.group, option.name);
    return out;
  }();
  std::vector<std::string> out;
  for (const auto& [group, name] : all) {
    if (std::find(groups.begin(), groups.end(), group) != groups.end()) out.push_back(name);
  }
  return out;
}

}  // namespace quiver::training
