// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/train.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "quiver/adapter/task_prompts.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/clustering/mbc.h"
#include "quiver/library/collection.h"
#include "quiver/model/load.h"
#include "quiver/training/failures.h"
#include "quiver/training/methods/table.h"
#include "quiver/workspace/experts.h"
#include "quiver/workspace/task_rows.h"
#include "quiver/workspace/text_rules.h"

namespace quiver::workspace {
namespace {

using training::Assignment;
using training::MethodEntry;
using training::MethodOptions;

/// The method with its settings, after every option was checked.
std::unique_ptr<training::Method> ready_method(TrainJob& job) {
  auto& options = job.options;
  const auto& entry = training::method_of_name(options.method);
  auto method = entry.make();
  OptionSet settings;
  method->describe(settings);
  settings.assign_all(job.settings, "--set");
  training::choose_kinds(options);
  training::refuse_unread_options(options, job.set);
  entry.settle(options, job.set);
  training::choose_kinds(options);
  training::check(options.train);
  QUIVER_CHECK(entry.makes_model || !options.library.empty(), usage, "train",
               "give --library DIR, which gets what --method {} makes", entry.name);
  QUIVER_CHECK(!entry.makes_model || !options.output.empty(), usage, "--method " + entry.name,
               "give --output FOLDER for the model");
  return method;
}

/// What training goes on from, as experts: sources of the library, or the adapter of --init-from.
ExpertSet starts_of(const TrainJob& job, const training::Method& method, const LoadedModel& loaded,
                    Progress& progress) {
  const auto& o = job.options;
  if (const auto sources = method.sources(); !sources.empty()) {
    refuse_twice(sources, "--set sources");
    return load_experts({o.library, {}, sources, o.allow_other_base}, loaded.model, progress);
  }
  ExpertSet out;
  out.bank = std::make_shared<adapter::Bank>(loaded.model);
  if (o.init_from.empty()) return out;
  const auto found = library::read_found_expert({o.init_from, o.init_from}, {});
  out.bank->add(found.info.name, adapter::for_new_task(found.adapter));
  out.training.push_back(found.info.training);
  return out;
}

/// Sets how texts are joined.
void settle_texts(TrainJob& job, const training::Method& method, const LoadedModel& loaded, Progress& progress) {
  const auto starts = starts_of(job, method, loaded, progress);
  const auto vectors = method.vectors_before(job.options, *loaded.text.tokenizer, vectors_before(starts));
  const auto rules = text_rules(job.join, loaded, known_rules(starts), vectors);
  for (const auto& note : rules.notes) progress.say(note);
  job.options.train.join = rules.join;
  if (job.join.whole_sequence) job.tasks.turns = "last";  // the last turn's row holds the others
}

/// What was found of the rows, by task and split, where anything was.
using Findings = std::map<std::string, nlohmann::json>;

/// The rows of each task that has some to train on.
std::vector<training::TaskRows> rows_of(const TrainJob& job, const LoadedModel& loaded,
                                        const std::vector<data::Task>& tasks, Progress& progress, Findings& findings) {
  std::vector<training::TaskRows> out;
  const auto& o = job.options;
  for (const auto& task : tasks) {
    training::TaskRows rows{task.name, {}, {}};
    const auto& tokenizer = *loaded.text.tokenizer;
    const auto train = add_rows(task, data::Split::train, o.limit, o.train.join, tokenizer, progress, rows.train);
    const auto validation =
        add_rows(task, data::Split::validation, o.validation_limit, o.train.join, tokenizer, progress, rows.validation);
    if (const auto found = train.json(); !found.empty()) findings[task.name]["train"] = found;
    if (const auto found = validation.json(); !found.empty()) findings[task.name]["validation"] = found;
    if (std::any_of(rows.train.begin(), rows.train.end(), [](const auto& row) { return row.weight > 0; })) {
      out.push_back(std::move(rows));
    } else if (tasks.size() > 1) {
      progress.say(fmt::format("task '{}' has no training rows{}: passed over", task.name,
                               rows.train.empty() ? "" : " of weight above 0"));
    } else {
      QUIVER_CHECK(rows.train.empty(), usage, "task " + task.name,
                   "all {} training rows have weight 0, expected some to learn from; give them a weight above 0",
                   rows.train.size());
    }
  }
  QUIVER_CHECK(!out.empty(), usage, "--task",
               "no training rows; the task files have no rows of split 'train' and of weight above 0");
  return out;
}

/// What asks for validation wants rows for it.
void check_validation(const TrainJob& job, const std::vector<training::TaskRows>& tasks) {
  const bool some = std::any_of(tasks.begin(), tasks.end(), [](const auto& t) { return !t.validation.empty(); });
  for (const auto* option : {"patience", "validate_every", "validation_limit"}) {
    QUIVER_CHECK(some || !job.set.given(option), usage, command_line_name(option),
                 "the tasks have no validation rows, so nothing is validated; add rows of split 'validation'");
  }
}

/// One assignment per cluster of a clustered library.
std::vector<Assignment> by_cluster(const MethodOptions& o, const std::vector<training::TaskRows>& tasks) {
  const auto source = library::Library::open(o.clusters);
  const auto clustering = clustering::read_clustering(source);
  QUIVER_CHECK(clustering, not_found, "--clusters " + o.clusters,
               "its experts, as they are now, have not been clustered; run 'quiver cluster' first");
  std::vector<Assignment> out;
  const auto members = clustering->members();
  for (std::size_t c = 0; c < members.size(); ++c) {
    auto& assignment = out.emplace_back();
    assignment.name = fmt::format("{}{}", o.name.empty() ? "cluster" : o.name, c);
    for (const auto& expert : members[c]) {
      for (const auto& name : source.info(expert).tasks) {
        const auto found = std::find_if(tasks.begin(), tasks.end(), [&](const auto& t) { return t.name == name; });
        QUIVER_CHECK(found != tasks.end(), usage, "--clusters",
                     "expert '{}' learned task '{}', which --task does not give, or gives without training rows",
                     expert, name);
        assignment.tasks.push_back(*found);
      }
    }
  }
  return out;
}

/// A name that would lead out of a folder is no name, whatever could be made of it.
void check_task_name(const std::string& name) {
  const auto parts = split(name, '/');
  QUIVER_CHECK(!name.starts_with('/') && std::find(parts.begin(), parts.end(), "..") == parts.end(), usage,
               "task " + name, "it cannot name a result; give --name");
}

std::vector<Assignment> plan(const MethodOptions& o, const MethodEntry& method, std::vector<training::TaskRows> tasks) {
  if (!o.clusters.empty()) return by_cluster(o, tasks);
  if (method.joint || !o.name.empty()) return {{o.name.empty() ? method.name : o.name, std::move(tasks)}};
  std::vector<Assignment> out;
  std::set<std::string> names;
  for (auto& task : tasks) {
    check_task_name(task.name);
    const auto name = library::fit_name(task.name);
    QUIVER_CHECK(names.insert(name).second, usage, "task " + task.name,
                 "two results would be named '{}'; train them in two runs, with --name", name);
    out.push_back({name, {}});
    out.back().tasks.push_back(std::move(task));
  }
  return out;
}

/// What was found of the rows of each assignment, by its name.
Findings findings_of(const std::vector<Assignment>& assignments, const Findings& of_tasks) {
  Findings out;
  for (const auto& assignment : assignments) {
    for (const auto& task : assignment.tasks) {
      if (const auto found = of_tasks.find(task.name); found != of_tasks.end())
        out[assignment.name][task.name] = found->second;
    }
  }
  return out;
}

/// A note of what was kept goes to the user whatever is printed of the result, and what was found of the rows is one of
/// its figures.
std::function<void(const training::Learned&)> saying(Progress& progress, const Findings& findings,
                                                     const std::function<void(const training::Learned&)>& learned) {
  return [&progress, findings, learned](training::Learned result) {
    if (!result.figures.note.empty()) progress.say(result.name + ": " + result.figures.note);
    if (const auto found = findings.find(result.name); found != findings.end()) result.more["rows"] = found->second;
    learned(result);
  };
}

void train_each(training::Method& method, const training::MethodInputs& inputs, std::vector<Assignment> assignments) {
  training::Failures failures(inputs.progress, assignments.size());
  for (auto& assignment : assignments) {
    const auto name = assignment.name;
    std::vector<Assignment> one;
    one.push_back(std::move(assignment));
    try {
      method.train(inputs, std::move(one));
    } catch (const Error& error) {
      failures.add(name, error);
    }
  }
  failures.refuse("train");
}

}  // namespace

TrainJob::TrainJob() { training::describe(options, set); }

void train(TrainJob& job, Progress& progress, const std::function<void(const training::Learned&)>& learned) {
  const auto method = ready_method(job);
  const auto& o = job.options;
  const auto& entry = training::method_of_name(o.method);
  const auto loaded = load(job.model);
  settle_texts(job, *method, loaded, progress);
  Findings of_tasks;
  auto tasks = rows_of(job, loaded, job.tasks.read(loaded.text, progress), progress, of_tasks);
  check_validation(job, tasks);
  const auto assignments = plan(o, entry, std::move(tasks));
  std::shared_ptr<const library::Library> library;
  if (!entry.makes_model)
    library = std::make_shared<const library::Library>(
        library::Library::open_or_create(o.library, job.model.model, loaded.model.fingerprint(), o.allow_other_base));
  const training::MethodInputs inputs{loaded.model,
                                      *loaded.text.tokenizer,
                                      model::resolve_model(job.model.model),
                                      library,
                                      o,
                                      job.set,
                                      progress,
                                      saying(progress, findings_of(assignments, of_tasks), learned)};
  method->check(inputs, assignments);
  if (o.together) {
    method->train(inputs, assignments);
  } else {
    train_each(*method, inputs, assignments);
  }
}

}  // namespace quiver::workspace
