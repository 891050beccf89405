// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/train_skills.h"

#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/training/task_sampling.h"
#include "quiver/workspace/task_rows.h"

namespace quiver::cli {

using namespace workspace;

namespace {

std::vector<training::RoutedRow> rows_of(const SkillRun& run, data::Split split, std::int64_t limit,
                                         Progress& progress) {
  return labelled_rows(run.tasks, split, limit, run.train.join, *run.loaded.text.tokenizer, progress);
}

std::vector<std::int64_t> labels_of(const std::vector<training::RoutedRow>& rows) {
  std::vector<std::int64_t> out;
  for (const auto& row : rows) out.push_back(row.label);
  return out;
}

/// As many rows as there are, by the tasks' shares.
std::vector<training::RoutedRow> sampled(const std::vector<training::RoutedRow>& rows, double temperature,
                                         std::uint64_t seed) {
  std::vector<training::RoutedRow> out;
  for (const auto i : training::sample_rows(labels_of(rows), temperature, rows.size(), derive_seed(seed, 3)))
    out.push_back(rows[i]);
  return out;
}

void weigh_tasks_alike(std::vector<training::RoutedRow>& rows) {
  std::vector<data::TokenRow> tokens;
  for (const auto& row : rows) tokens.push_back(row.row);
  const auto weights = training::equal_task_weights(tokens, labels_of(rows));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].row.weight *= weights[i];
}

/// For expert.json and router.json.
nlohmann::json figures(const SkillRun& run, const SkillChoice& choice, const training::RoutedResult& result) {
  nlohmann::json out{{"method", "poly"},
                     {"options", training::to_json(run.train)},
                     {"selector_learning_rate", choice.training.selector_learning_rate},
                     {"skill_learning_rate", choice.training.skill_learning_rate},
                     {"relaxed_bernoulli", choice.training.noise.relaxed_bernoulli},
                     {"straight_through", choice.training.noise.straight_through},
                     {"selector_dropout", choice.training.noise.dropout},
                     {"task_temperature", choice.task_temperature},
                     {"equal_tasks", choice.equal_tasks}};
  out.update(training::to_json(result));
  return out;
}

void save_folded(const SkillRun& run, const routing::SkillSet& set, const std::string& name,
                 const nlohmann::json& training) {
  for (const auto& task : set.tasks) {
    const auto expert = name + "." + task;
    library::check_expert_name(expert);
    library::ExpertInfo info;
    info.name = expert;
    info.tasks = {task};
    info.base_fingerprint = run.loaded.model.fingerprint();
    info.training = training;
    run.library.save(info, routing::fold(set, task), run.replace);
  }
}

void report(const SkillRun& run, const routing::SkillSet& set, const std::string& name,
            const training::RoutedResult& result) {
  const double speed = result.seconds > 0 ? static_cast<double>(result.tokens) / result.seconds : 0.0;
  if (run.json) {
    return print_json({{"router", name},
                       {"kind", "poly"},
                       {"tasks", set.tasks.size()},
                       {"skills", set.options.skills},
                       {"splits", set.options.splits},
                       {"parameters", set.factors.numel() + set.logits.numel()},
                       {"steps", result.steps},
                       {"best_step", result.best_step},
                       {"tokens", result.tokens},
                       {"tokens_per_second", number_or_null(speed)},
                       {"train_loss", number_or_null(result.train_loss)},
                       {"validation_loss", number_or_null(result.validation_loss)}});
  }
  std::printf("%-32s %5lld steps  train %.3f  validation %.3f  %6.0f tokens/s   apply with --route poly:%s\n",
              name.c_str(), static_cast<long long>(result.steps), result.train_loss, result.validation_loss, speed,
              name.c_str());
  std::fflush(stdout);
}

}  // namespace

void SkillChoice::declare(CLI::App& app) {
  auto& noise = training.noise;
  app.add_option("--skills", skills.skills, "poly: LoRA that all tasks share")->capture_default_str();
  app.add_option("--splits", skills.splits, "poly: parts of each site composed apart; above 1: MHR")
      ->capture_default_str();
  app.add_option("--granularity", granularity, "poly: a selector per site, layer or model")->capture_default_str();
  app.add_option("--normalisation", normalisation, "poly: weights of skills: share, corrected or unit")
      ->capture_default_str();
  app.add_flag("--shared-skill", skills.shared_skill, "poly: the last skill is part of every task");
  app.add_option("--epsilon", skills.epsilon, "poly: added to what the weights of skills are divided by")
      ->capture_default_str();
  app.add_option("--selector-learning-rate", training.selector_learning_rate, "poly: of the logits")
      ->capture_default_str();
  app.add_option("--skill-learning-rate", training.skill_learning_rate, "poly: of the skills")->capture_default_str();
  app.add_flag("--relaxed-bernoulli", noise.relaxed_bernoulli, "poly: logistic noise on the logits in training");
  app.add_flag("--straight-through", noise.straight_through, "poly: skills on or off in training");
  app.add_option("--selector-dropout", noise.dropout, "poly: of the use of skills")->capture_default_str();
  app.add_option("--task-temperature", task_temperature, "poly: rows of a task ~ n^(1/T); 1: each row once an epoch")
      ->capture_default_str();
  app.add_flag("--equal-tasks", equal_tasks, "poly: tasks count alike, whatever their number of tokens");
  app.add_flag("--fold", fold, "poly: also keep each task's composition as an expert NAME.TASK");
}

void train_skills(const SkillRun& run, const SkillChoice& choice) {
  const auto name = run.name.empty() ? std::string("poly") : run.name;
  library::check_expert_name(name);
  QUIVER_CHECK(run.replace || !routing::has_router(run.library, name), usage, "router " + name,
               "the library has one of that name; choose another --name, or --replace it");
  auto options = choice.skills;
  options.granularity = routing::granularity_of_name(choice.granularity);
  options.normalisation = routing::normalisation_of_name(choice.normalisation);
  std::vector<std::string> tasks;
  for (const auto& task : run.tasks) tasks.push_back(task.name);
  auto set = routing::make_skills(run.loaded.model, run.train.lora, options, tasks, derive_seed(run.train.seed, 1));

  TerminalProgress progress;
  auto train = rows_of(run, data::Split::train, run.limit, progress);
  if (choice.task_temperature != 1.0 && !train.empty()) train = sampled(train, choice.task_temperature, run.train.seed);
  if (choice.equal_tasks) weigh_tasks_alike(train);
  const auto validation = rows_of(run, data::Split::validation, run.validation_limit, progress);

  const auto result = training::train_skills({run.loaded.model, run.train, progress, "train " + name}, set,
                                             choice.training, train, validation);
  const auto training = figures(run, choice, result);
  routing::save_router(run.library, routing::to_saved_router(set, name, training));
  if (choice.fold) save_folded(run, set, name, training);
  report(run, set, name, result);
}

}  // namespace quiver::cli
