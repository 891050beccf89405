// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <set>

#include "quiver/base/error.h"
#include "quiver/adapter/describe_options.h"
#include "quiver/cli/common.h"
#include "quiver/cli/declare_options.h"
#include "quiver/cli/verb.h"
#include "quiver/evaluation/evaluate.h"
#include "quiver/evaluation/report/report_grid.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/routing/constant_router.h"
#include "quiver/training/adaptation/adaptation.h"
#include "quiver/training/adaptation/adaptation_interval.h"
#include "quiver/training/adaptation/few_shot.h"
#include "quiver/workspace/task_rows.h"

namespace quiver::cli {

using namespace workspace;

namespace {

struct Options {
  ModelOptions model;
  ExpertOptions experts;
  TaskOptions tasks;
  JoinChoice join;
  OptionSet texts;
  training::AdaptOptions adapt;
  training::FewShotOptions few;
  evaluation::EvaluateOptions evaluate;
  std::vector<std::string> regimes;
  OptionSet set;  ///< of adapt
  std::string split = "test", save;
  std::int64_t seeds = 3;
  bool replace = false, json = false;
};

/// The scores of one regime over the seeds.
struct Scores {
  std::string regime, metric;
  std::vector<double> values;
  std::int64_t trained = 0;
  double seconds = 0.0, loss = 0.0;
};

class Run {
 public:
  explicit Run(Options& o)
      : o_(o),
        loaded_(load(o.model)),
        experts_(load_experts(o.experts, loaded_.model, progress_)),
        tasks_(o.tasks.read(loaded_.text, progress_)) {
    QUIVER_CHECK(experts_.inputs.library, usage, "adapt",
                 "it draws on a library; give --library DIR, and no --adapter");
    QUIVER_CHECK(o.save.empty() || tasks_.size() == 1, usage, "--save", "{} tasks, expected one", tasks_.size());
    for (const auto& name : names_to_save()) {
      library::check_expert_name(name);
      QUIVER_CHECK(o.replace || !experts_.library->contains(name), usage, "--save " + name,
                   "the library has an expert of that name; choose another, or --replace it");
    }
    const auto rules = text_rules(o.join, loaded_, known_rules(experts_), vectors_before(experts_));
    for (const auto& note : rules.notes) progress_.say(note);
    o.adapt.train.join = o.evaluate.join = rules.join;
    o.evaluate.split = data::split_from_name(o.split);
    o.evaluate.vectors_before = workspace::vectors_before(experts_);
  }

  void all() {
    for (const auto& task : tasks_) {
      const auto problem = evaluation::problem_of(task, o_.evaluate);
      QUIVER_CHECK(problem.empty(), usage, "task " + task.name, "{}", problem);
    }
    for (const auto& task : tasks_) {
      std::vector<Scores> scores;
      scores.push_back(zero_shot(task));
      for (const auto& regime : o_.regimes) {
        scores.push_back({regime, "", {}, 0, 0.0, 0.0});
        for (std::int64_t s = 0; s < o_.seeds; ++s) adapt_once(task, static_cast<std::uint64_t>(s), scores.back());
      }
      summarise(task, scores);
    }
  }

 private:
  evaluation::ResultRow score(const data::Task& task, const routing::Router& router, const std::string& label) {
    const evaluation::EvaluateInputs inputs{loaded_.model, *loaded_.text.tokenizer, progress_};
    return evaluation::headline(evaluation::evaluate(inputs, task, router, label, o_.evaluate));
  }

  Scores zero_shot(const data::Task& task) {
    const auto row = score(task, routing::ConstantRouter(experts_.bank, {}), "zero-shot");
    if (o_.json)
      print_json({{"task", task.name},
                  {"regime", "zero-shot"},
                  {"metric", row.metric},
                  {"value", number_or_null(row.value)},
                  {"count", row.count}});
    return {"zero-shot", row.metric, {row.value}, 0, 0.0, 0.0};
  }

  training::ExpertData examples(const data::Task& task, std::uint64_t seed) {
    auto few = o_.few;
    few.seed = seed;
    const auto& tokenizer = *loaded_.text.tokenizer;
    const auto eos = workspace::end_token(tokenizer, o_.adapt.train.join);
    const auto encode = [&](std::string_view text) { return tokenizer.encode(text); };
    auto joined = data::join_rows(task, training::few_shot_rows(task, few), fmt::format("examples of seed {}", seed),
                                  encode, eos, o_.adapt.train.join);
    for (const auto& line : joined.findings.lines()) {
      if (said_.insert(line).second) progress_.say(line);
    }
    return {task.name, {task.name}, std::move(joined.rows), {}};
  }

  void adapt_once(const data::Task& task, std::uint64_t seed, Scores& scores) {
    auto options = o_.adapt;
    options.train.seed = seed + o_.few.seed;
    const training::AdaptInputs inputs{loaded_.model, experts_.inputs.library, experts_.bank, progress_};
    const auto data = examples(task, options.train.seed);
    const auto found = training::adapt(inputs, scores.regime, data, options);
    auto bank = std::make_shared<adapter::Bank>(experts_.bank->empty_copy());
    bank->add("adapted", found.adapter);
    const auto row = score(task, routing::ConstantRouter(bank, {{0, 1.0f}}), scores.regime);
    scores.metric = row.metric;
    scores.values.push_back(row.value);
    scores.trained = found.trained;
    scores.seconds += found.seconds / static_cast<double>(o_.seeds);
    scores.loss += found.loss / static_cast<double>(o_.seeds);
    if (!o_.save.empty()) save(task, scores.regime, options.train.seed, found);
    if (o_.json)
      print_json({{"task", task.name},
                  {"regime", scores.regime},
                  {"seed", options.train.seed},
                  {"metric", row.metric},
                  {"value", number_or_null(row.value)},
                  {"count", row.count},
                  {"examples", data.train.size()},
                  {"trained", found.trained},
                  {"loss_before", number_or_null(found.loss_before)},
                  {"loss", number_or_null(found.loss)},
                  {"seconds", found.seconds},
                  {"note", found.note}});
  }

  /// NAME where there is one adapter to keep, else NAME.REGIME.SEED.
  std::string name_to_save(const std::string& regime, std::uint64_t seed) const {
    const bool one = o_.regimes.size() == 1 && o_.seeds == 1;
    return one ? o_.save : fmt::format("{}.{}.{}", o_.save, regime, seed);
  }
  std::vector<std::string> names_to_save() const {
    std::vector<std::string> out;
    if (o_.save.empty()) return out;
    for (const auto& regime : o_.regimes) {
      for (std::int64_t s = 0; s < o_.seeds; ++s)
        out.push_back(name_to_save(regime, static_cast<std::uint64_t>(s) + o_.few.seed));
    }
    return out;
  }

  void save(const data::Task& task, const std::string& regime, std::uint64_t seed, const training::Adapted& found) {
    library::ExpertInfo info;
    info.name = name_to_save(regime, seed);
    info.tasks = {task.name};
    info.base_fingerprint = loaded_.model.fingerprint();
    info.training = {{"method", "adapt"},
                     {"regime", regime},
                     {"seed", seed},
                     {"shots", o_.few.shots},
                     {"shots_per_class", o_.few.shots_per_class},
                     {"options", training::to_json(o_.adapt.train)},
                     {"note", found.note}};
    experts_.library->save(info, found.adapter, o_.replace);
  }

  void summarise(const data::Task& task, const std::vector<Scores>& all) {
    evaluation::TextTable table;
    table.header = {task.name, all[0].metric, "95 % interval", "seeds", "trained", "loss", "seconds"};
    for (const auto& s : all) {
      const auto mean = training::mean_interval(s.values);
      if (o_.json) {
        print_json({{"task", task.name},
                    {"regime", s.regime},
                    {"metric", s.metric},
                    {"mean", number_or_null(mean.mean)},
                    {"interval", {number_or_null(mean.low), number_or_null(mean.high)}},
                    {"seeds", s.values.size()}});
        continue;
      }
      const bool adapted = s.regime != "zero-shot";
      const auto shown = [kind = evaluation::metric_kind(s.metric)](double value) {
        return evaluation::format_value(value, kind);
      };
      const auto interval = s.values.size() > 1 ? shown(mean.low) + " to " + shown(mean.high) : "";
      table.rows.push_back({{s.regime},
                            {shown(mean.mean)},
                            {interval},
                            {adapted ? std::to_string(s.values.size()) : ""},
                            {adapted ? std::to_string(s.trained) : ""},
                            {adapted ? fmt::format("{:.3f}", s.loss) : ""},
                            {adapted ? fmt::format("{:.1f}", s.seconds) : ""}});
    }
    if (o_.json) return;
    std::printf("%s\n", evaluation::render_table(table, {colour_wanted(), 1, 48}).c_str());
    std::fflush(stdout);
  }

  Options& o_;
  TerminalProgress progress_;
  std::set<std::string> said_;
  LoadedModel loaded_;
  ExpertSet experts_;
  std::vector<data::Task> tasks_;
};

std::string regime_help() {
  std::string out = "how the library is put to use (repeatable):";
  for (const auto& regime : training::regime_table()) out += "\n" + regime.name + " - " + regime.summary;
  return out;
}

}  // namespace

std::function<void()> declare_adapt(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->adapt.train.max_steps = 60;
  o->adapt.train.batch_rows = 8;
  o->evaluate.limit = 200;
  declare(app, o->model);
  declare(app, o->experts);
  declare(app, o->tasks);
  declare(app, o->join, o->texts);
  app.add_option("--regime", o->regimes, regime_help())->required();
  app.add_option("--shots", o->few.shots, "examples in all; 0: see --shots-per-class")->capture_default_str();
  app.add_option("--shots-per-class", o->few.shots_per_class, "examples of each different target")
      ->capture_default_str();
  app.add_option("--seeds", o->seeds, "repetitions, each with its own examples")->capture_default_str();
  app.add_option("--seed", o->few.seed, "of the first repetition")->capture_default_str();
  describe(o->adapt, o->set);
  declare(app, o->set);
  app.add_option("--split", o->split, "that is scored: train, validation or test")->capture_default_str();
  app.add_option("--limit", o->evaluate.limit, "rows scored; 0: all")->capture_default_str();
  app.add_option("--max-new-tokens", o->evaluate.max_new_tokens, "of a generated answer")->capture_default_str();
  app.add_option("--rank-labels", o->evaluate.label_limit,
                 "rank a task without options among its training targets where they are at most so many; 0: generate")
      ->capture_default_str();
  app.add_option("--save", o->save, "keep the result as an expert; with several regimes or seeds NAME.REGIME.SEED");
  app.add_flag("--replace", o->replace, "overwrite experts of the same names");
  app.add_flag("--json", o->json, "an object per regime and seed, then one per regime");
  return [o] {
    adapter::settle(o->adapt.train.lora, o->set);
    if (o->few.shots == 0 && o->few.shots_per_class == 0) o->few.shots = 16;
    QUIVER_CHECK(o->seeds >= 1, usage, "--seeds", "{}, expected at least 1", o->seeds);
    training::check_regimes(o->regimes, o->set);
    Run(*o).all();
  };
}

}  // namespace quiver::cli
