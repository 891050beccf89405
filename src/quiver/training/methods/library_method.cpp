// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/library_method.h"

#include <set>

#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/routing/router_table.h"
#include "quiver/training/expert_objective.h"

namespace quiver::training {

using nlohmann::json;

std::vector<RoutedRow> labelled_rows(const std::vector<TaskRows>& tasks, data::Split split) {
  std::vector<RoutedRow> out;
  for (std::size_t t = 0; t < tasks.size(); ++t) {
    for (const auto& row : split == data::Split::train ? tasks[t].train : tasks[t].validation)
      out.push_back({row, static_cast<std::int64_t>(t)});
  }
  return out;
}

std::vector<std::string> task_names(const Assignment& assignment) {
  std::vector<std::string> out;
  for (const auto& task : assignment.tasks) out.push_back(task.name);
  return out;
}

adapter::Bank sources_of(const MethodInputs& inputs, const std::vector<std::string>& names,
                         std::vector<std::string>* identities) {
  QUIVER_CHECK(!names.empty(), usage, "--set sources", "missing: experts of the library, a,b,c");
  adapter::Bank bank(inputs.model);
  for (const auto& name : names) {
    const auto expert = inputs.library->load_expert(name);
    bank.add(name, expert.adapter);
    if (identities) identities->push_back(expert.info.identity);
  }
  return bank;
}

std::string LibraryMethod::route_of(const Assignment& assignment) const {
  return makes_router() ? name_ + ":" + assignment.name : "expert:" + assignment.name;
}

json LibraryMethod::settings() {
  OptionSet set;
  describe(set);
  return set.to_json();
}

std::string LibraryMethod::run_key(const MethodInputs& inputs, const Assignment& assignment) {
  std::string data;
  for (const auto& name : sources()) data += inputs.library->info(name).identity;
  for (const auto& task : assignment.tasks) data += data_key({task.name, {}, task.train, task.validation});
  return sha256_hex(deciding_options(inputs.options, reads_(inputs.options)).dump() +
                    to_json(inputs.options.train.join).dump() + settings().dump() + data +
                    inputs.library->fingerprint() + std::to_string(static_cast<int>(inputs.model.dtype())));
}

std::optional<Learned> LibraryMethod::made_before(const MethodInputs& inputs, const Assignment& assignment,
                                                  const std::string& key) {
  const auto& library = *inputs.library;
  json training;
  try {
    if (makes_router() && routing::has_router(library, assignment.name))
      training = routing::read_router(library, assignment.name).training;
  } catch (const Error&) {
    return std::nullopt;  // damaged, or its experts have changed
  }
  if (!makes_router() && library.contains(assignment.name)) training = library.info(assignment.name).training;
  if (!training.is_object() || training.value("run_key", "") != key) return std::nullopt;
  for (const auto& expert : expert_names(inputs, assignment)) {
    if (!library.contains(expert)) return std::nullopt;
  }
  const auto path =
      makes_router() ? library.folder() / "routers" / assignment.name : library.expert_folder(assignment.name);
  return Learned{
      makes_router() ? "router" : "expert", assignment.name, figures_of(training), true, path, route_of(assignment)};
}

void LibraryMethod::refuse_taken(const MethodInputs& inputs, const Assignment& assignment) const {
  library::check_expert_name(assignment.name);
  if (makes_router()) routing::check_router_name(assignment.name, name_);
  const auto free = [&](bool taken, const std::string& what) {
    QUIVER_CHECK(!taken || inputs.options.replace, usage, what,
                 "the library has one of that name, made otherwise; choose another --name, or --replace it");
  };
  free(routing::has_router(*inputs.library, assignment.name), "router " + assignment.name);
  free(inputs.library->contains(assignment.name), "expert " + assignment.name);
  std::set<std::string> names;
  for (const auto& expert : expert_names(inputs, assignment)) {
    library::check_expert_name(expert);
    QUIVER_CHECK(names.insert(expert).second, usage, "expert " + expert,
                 "two tasks would make one of that name; rename one of them");
    free(inputs.library->contains(expert), "expert " + expert);
  }
}

void LibraryMethod::check(const MethodInputs& inputs, const std::vector<Assignment>& assignments) {
  for (const auto& assignment : assignments) {
    if (!made_before(inputs, assignment, run_key(inputs, assignment))) refuse_taken(inputs, assignment);
  }
}

void LibraryMethod::train(const MethodInputs& inputs, std::vector<Assignment> assignments) {
  for (const auto& assignment : assignments) {
    const auto key = run_key(inputs, assignment);
    RunFolder run(inputs.library->run_folder(assignment.name), key, inputs.options.replace, inputs.progress);
    if (const auto before = made_before(inputs, assignment, key)) {
      inputs.learned(*before);
      continue;
    }
    refuse_taken(inputs, assignment);
    auto taught = learn(inputs, assignment,
                        {inputs.model, inputs.options.train, inputs.progress, name_ + " " + assignment.name, &run});
    keep(inputs, assignment, key, taught);
    run.drop_checkpoint();
  }
}

void LibraryMethod::keep(const MethodInputs& inputs, const Assignment& assignment, const std::string& key,
                         Taught& taught) {
  auto options = inputs.options.train;
  if (!taught.experts.empty()) options.kind.kinds = adapter::kinds_of(taught.experts[0].adapter);
  json training{{"method", name_},
                {"run_key", key},
                {"options", to_json(options)},
                {"read", deciding_options(inputs.options, reads_(inputs.options))},
                {"settings", settings()},
                {"tasks", task_names(assignment)}};
  training.update(to_json(taught.figures));
  training.update(taught.more);
  for (const auto& expert : taught.experts) {
    library::ExpertInfo info;
    info.name = expert.name;
    info.tasks = expert.tasks;
    info.base_fingerprint = inputs.model.fingerprint();
    info.training = training;
    inputs.library->save(info, expert.adapter, inputs.options.replace);
  }
  auto path = taught.router ? inputs.library->folder() / "routers" / assignment.name
                            : inputs.library->expert_folder(assignment.name);
  // After the experts, which it may be a router of.
  if (taught.router) {
    taught.router->training = training;
    routing::save_router(*inputs.library, *taught.router);
  }
  auto more = taught.more;
  more["method"] = name_;
  inputs.learned({makes_router() ? "router" : "expert", assignment.name, taught.figures, false, std::move(path),
                  route_of(assignment), std::move(more)});
}

}  // namespace quiver::training
