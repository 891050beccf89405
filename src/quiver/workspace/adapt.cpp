// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/adapt.h"

#include "quiver/adapter/describe_options.h"
#include "quiver/base/error.h"
#include "quiver/routing/constant_router.h"
#include "quiver/training/failures.h"
#include "quiver/workspace/task_rows.h"

namespace quiver::workspace {
namespace {

class Run {
 public:
  Run(AdaptJob& job, Progress& progress, const AdaptListener& listener)
      : job_(job),
        progress_(progress),
        listener_(listener),
        loaded_(load(job.model)),
        experts_(load_experts(job.experts, loaded_.model, progress)),
        tasks_(job.tasks.read(loaded_.text, progress)),
        failures_(progress, tasks_.size() * job.regimes.size() * static_cast<std::size_t>(job.seeds)) {
    QUIVER_CHECK(experts_.inputs.library, usage, "adapt",
                 "it draws on a library; give --library DIR, and no --adapter");
    QUIVER_CHECK(job.save.empty() || tasks_.size() == 1, usage, "--save", "{} tasks, expected one", tasks_.size());
    for (const auto& name : names_to_save()) {
      library::check_expert_name(name);
      QUIVER_CHECK(job.replace || !experts_.library->contains(name), usage, "--save " + name,
                   "the library has an expert of that name; choose another, or --replace it");
    }
    const auto rules = text_rules(job.join, loaded_, known_rules(experts_), vectors_before(experts_));
    for (const auto& note : rules.notes) progress_.say(note);
    job_.adapt.train.join = job_.evaluate.join = rules.join;
    job_.evaluate.vectors_before = vectors_before(experts_);
    for (const auto& regime : job.regimes) training::check_sources(inputs(), regime, job_.adapt);
    for (const auto& task : tasks_) {
      const auto problem = evaluation::problem_of(task, job_.evaluate);
      QUIVER_CHECK(problem.empty(), usage, "task " + task.name, "{}", problem);
      for (std::int64_t s = 0; s < job.seeds; ++s) examples(task, seed_of(s));
    }
  }

  void all() {
    for (const auto& task : tasks_) {
      std::vector<AdaptSummary> summaries{zero_shot(task)};
      for (const auto& regime : job_.regimes) {
        if (auto summary = by_regime(task, regime)) summaries.push_back(std::move(*summary));
      }
      listener_.task(summaries);
    }
    failures_.refuse("adapt");
  }

 private:
  training::AdaptInputs inputs() { return {loaded_.model, experts_.inputs.library, experts_.bank, progress_}; }
  std::uint64_t seed_of(std::int64_t repetition) const {
    return static_cast<std::uint64_t>(repetition) + job_.few.seed;
  }

  evaluation::ResultRow score(const data::Task& task, const routing::Router& router, const std::string& label) {
    const evaluation::EvaluateInputs inputs{loaded_.model, *loaded_.text.tokenizer, progress_};
    return evaluation::headline(evaluation::evaluate(inputs, task, router, label, job_.evaluate));
  }

  AdaptSummary zero_shot(const data::Task& task) {
    const auto row = score(task, routing::ConstantRouter(experts_.bank, {}), "zero-shot");
    listener_.score({task.name, "zero-shot", std::nullopt, row});
    return {task.name, "zero-shot", row.metric, training::mean_interval(std::vector<double>{row.value})};
  }

  /// Over the seeds that did not fail; nothing where all did.
  std::optional<AdaptSummary> by_regime(const data::Task& task, const std::string& regime) {
    AdaptSummary out{task.name, regime, "", {}};
    std::vector<double> values;
    for (std::int64_t s = 0; s < job_.seeds; ++s) {
      try {
        const auto one = by_seed(task, regime, seed_of(s));
        values.push_back(one.result.value);
        out.metric = one.result.metric;
        out.trained = one.adapted.trained;
        out.loss += one.adapted.loss;
        out.seconds += one.adapted.seconds;
        listener_.score(one);
        if (!job_.save.empty()) save(task, one);
      } catch (const Error& error) {
        failures_.add(fmt::format("{} of task {}, seed {}", regime, task.name, seed_of(s)), error);
      }
    }
    if (values.empty()) return std::nullopt;
    out.mean = training::mean_interval(values);
    out.seeds = values.size();
    out.loss /= static_cast<double>(values.size());
    out.seconds /= static_cast<double>(values.size());
    return out;
  }

  AdaptScore by_seed(const data::Task& task, const std::string& regime, std::uint64_t seed) {
    auto options = job_.adapt;
    options.train.seed = seed;
    const auto data = examples(task, seed);
    AdaptScore out{task.name, regime, seed, {}, data.train.size()};
    out.adapted = training::adapt(inputs(), regime, data, options);
    auto bank = std::make_shared<adapter::Bank>(experts_.bank->empty_copy());
    bank->add("adapted", out.adapted.adapter);
    out.result = score(task, routing::ConstantRouter(bank, {{0, 1.0f}}), regime);
    return out;
  }

  training::ExpertData examples(const data::Task& task, std::uint64_t seed) {
    auto few = job_.few;
    few.seed = seed;
    const auto& tokenizer = *loaded_.text.tokenizer;
    const auto& join = job_.adapt.train.join;
    const auto encode = [&](std::string_view text) { return tokenizer.encode(text); };
    auto joined = data::join_rows(task, training::few_shot_rows(task, few), fmt::format("examples of seed {}", seed),
                                  encode, data::end_token(tokenizer, join, "task " + task.name), join);
    for (const auto& line : joined.findings.lines()) {
      if (said_.insert(line).second) progress_.say(line);
    }
    return {task.name, {task.name}, std::move(joined.rows), {}};
  }

  std::string name_to_save(const std::string& regime, std::uint64_t seed) const {
    const bool one = job_.regimes.size() == 1 && job_.seeds == 1;
    return one ? job_.save : fmt::format("{}.{}.{}", job_.save, regime, seed);
  }
  std::vector<std::string> names_to_save() const {
    std::vector<std::string> out;
    if (job_.save.empty()) return out;
    for (const auto& regime : job_.regimes) {
      for (std::int64_t s = 0; s < job_.seeds; ++s) out.push_back(name_to_save(regime, seed_of(s)));
    }
    return out;
  }

  void save(const data::Task& task, const AdaptScore& score) {
    library::ExpertInfo info;
    info.name = name_to_save(score.regime, *score.seed);
    info.tasks = {task.name};
    info.base_fingerprint = loaded_.model.fingerprint();
    info.training = {{"method", "adapt"},
                     {"regime", score.regime},
                     {"seed", *score.seed},
                     {"shots", job_.few.shots},
                     {"shots_per_class", job_.few.shots_per_class},
                     {"options", training::to_json(job_.adapt.train)},
                     {"note", score.adapted.note}};
    experts_.library->save(info, score.adapted.adapter, job_.replace);
  }

  AdaptJob& job_;
  Progress& progress_;
  const AdaptListener& listener_;
  std::set<std::string> said_;
  LoadedModel loaded_;
  ExpertSet experts_;
  std::vector<data::Task> tasks_;
  training::Failures failures_;
};

}  // namespace

AdaptJob::AdaptJob() {
  adapt.train.max_steps = 60;
  adapt.train.batch_rows = 8;
  evaluate.limit = 200;
  training::describe(adapt, learning);
  general.group("examples")
      .integer("shots", few.shots, at_least(0), "examples in all; 0: see shots_per_class")
      .shown_default("16 where neither is given")
      .integer("shots_per_class", few.shots_per_class, at_least(0), "examples of each different target")
      .integer("seeds", seeds, at_least(1), "repetitions, each with its own examples")
      .integer("seed", few.seed, at_least(0), "of the first repetition");
  general.group("scoring")
      .choice("split", evaluate.split,
              {{"train", data::Split::train}, {"validation", data::Split::validation}, {"test", data::Split::test}},
              "that is scored")
      .integer("limit", evaluate.limit, at_least(0), "rows scored; 0: all")
      .integer("max_new_tokens", evaluate.max_new_tokens, at_least(0), "of a generated answer")
      .integer("rank_labels", evaluate.label_limit, at_least(0),
               "rank a task without options among its training targets where they are at most so many; 0: generate");
  general.group("results")
      .text("save", save, "keep the result as an expert; with several regimes or seeds NAME.REGIME.SEED")
      .flag("replace", replace, "overwrite experts of the same names");
}

void adapt(AdaptJob& job, Progress& progress, const AdaptListener& listener) {
  refuse_twice(job.regimes, "--regime");
  training::check_regimes(job.regimes, job.learning);
  adapter::settle(job.adapt.train.lora, job.learning);
  if (job.few.shots == 0 && job.few.shots_per_class == 0) job.few.shots = 16;
  Run(job, progress, listener).all();
}

}  // namespace quiver::workspace
