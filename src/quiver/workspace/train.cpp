// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/train.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "quiver/adapter/kind.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/clustering/mbc.h"
#include "quiver/library/collection.h"
#include "quiver/model/load.h"
#include "quiver/training/methods/table.h"
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

/// Vectors before the prompts that are trained, which take their places in the model's context.
std::int64_t vectors_before(const training::MethodOptions& o) {
  const auto& kinds = o.train.kind.kinds;
  const bool by_kind = std::any_of(kinds.begin(), kinds.end(), [](const auto& name) {
    const auto traits = adapter::kind_of_name(name).traits;
    return traits.has(adapter::Trait::vectors) || traits.has(adapter::Trait::keys_values);
  });
  return by_kind || training::method_of_name(o.method).trains_vectors ? o.train.kind.prompt_tokens : 0;
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
    if (!rows.train.empty()) {
      out.push_back(std::move(rows));
    } else if (tasks.size() > 1) {
      progress.say("task '" + task.name + "' has no training rows: passed over");
    }
  }
  QUIVER_CHECK(!out.empty(), usage, "--task", "no training rows; the task files have no split 'train'");
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
  std::vector<std::string> failed;
  const auto all = assignments.size();
  for (auto& assignment : assignments) {
    const auto name = assignment.name;
    std::vector<Assignment> one;
    one.push_back(std::move(assignment));
    try {
      method.train(inputs, std::move(one));
    } catch (const Error& error) {
      if (all == 1) throw;
      inputs.progress.finish();
      inputs.progress.say(error.what());
      failed.push_back(name);
    }
  }
  QUIVER_CHECK(failed.empty(), mismatch, "train", "{} of {} failed, as said above: {}; the others are kept",
               failed.size(), all, join(failed, ", "));
}

}  // namespace

TrainJob::TrainJob() { training::describe(options, set); }

void check_options(TrainJob& job) { ready_method(job); }

void train(TrainJob& job, Progress& progress, const std::function<void(const training::Learned&)>& learned) {
  const auto method = ready_method(job);
  auto& o = job.options;
  const auto& entry = training::method_of_name(o.method);
  const auto loaded = load(job.model);
  o.train.join = text_rules(job.join, loaded, {}, vectors_before(o)).join;
  if (job.join.whole_sequence) job.tasks.turns = "last";  // the last turn's row holds the others
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
