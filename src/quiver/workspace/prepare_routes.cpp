// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/prepare_routes.h"

#include <algorithm>
#include <functional>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/routing/request/fit_moa.h"
#include "quiver/routing/request/saved_moa.h"
#include "quiver/routing/request/signature.h"
#include "quiver/routing/request/text_router.h"
#include "quiver/routing/route_entry.h"
#include "quiver/routing/router_table.h"
#include "quiver/routing/token/expert_rows.h"
#include "quiver/training/methods/expert_rows_training.h"
#include "quiver/training/methods/router_training.h"
#include "quiver/workspace/prepare_settings.h"
#include "quiver/workspace/task_rows.h"

namespace quiver::workspace {
namespace {

using nlohmann::json;
using routing::RouteSpec;

/// The tasks of an expert among those given.
std::vector<const data::Task*> given_tasks(const PrepareData& d, std::size_t expert) {
  const auto& names = d.experts.inputs.expert_tasks[expert];
  std::vector<const data::Task*> out;
  for (const auto& task : d.tasks) {
    if (std::find(names.begin(), names.end(), task.name) != names.end()) out.push_back(&task);
  }
  return out;
}

/// None at all is an error, some missing is not.
std::vector<const data::Task*> tasks_of(const PrepareData& d, std::size_t expert, const std::string& route) {
  auto out = given_tasks(d, expert);
  const auto& name = d.experts.names()[expert];
  QUIVER_CHECK(!out.empty(), usage, "--route " + route,
               "--task gives none of the tasks of expert '{}' ({}); give it, or where the route takes examples, "
               "--examples {}=FILE",
               name, join(d.experts.inputs.expert_tasks[expert], ", "), name);
  return out;
}

/// True where nothing is asked of the expert: none of its tasks is given, and what was computed of it is kept.
bool left_alone(const PrepareData& d, const routing::ExpertFiles& files, std::size_t expert) {
  return !d.again && given_tasks(d, expert).empty() && files.open(expert);
}

/// Training rows of an expert's tasks, `limit` of them in all, the tasks in turn.
std::vector<data::TokenRow> rows_of(const PrepareData& d, std::size_t expert, std::int64_t limit,
                                    const std::string& route) {
  const auto tasks = tasks_of(d, expert, route);
  const auto each = std::max<std::int64_t>(1, limit / static_cast<std::int64_t>(tasks.size()));
  std::vector<data::TokenRow> out;
  for (const auto* task : tasks)
    add_rows(*task, data::Split::train, each, d.options.join, *d.loaded.text.tokenizer, d.progress, out);
  QUIVER_CHECK(!out.empty(), usage, "--route " + route, "the tasks of expert '{}' have no training rows",
               d.experts.names()[expert]);
  return out;
}

std::int64_t limit_of(const PrepareData& d, std::int64_t wanted) { return d.limit > 0 ? d.limit : wanted; }

/// What is computed from rows is known by them: other rows, or rows joined otherwise, are another thing.
std::string hash_of_rows(const std::vector<data::TokenRow>& rows) {
  std::vector<std::vector<std::int32_t>> ids;
  for (const auto& row : rows) {
    ids.push_back(row.ids);
    ids.push_back({row.target_begin});
    ids.emplace_back();
    for (const char c : fmt::format("{}", row.weight)) ids.back().push_back(c);
  }
  return routing::hash_of(ids);
}

std::vector<std::vector<std::int32_t>> prompts_of(const PrepareData& d, std::size_t expert,
                                                  const std::vector<data::TokenRow>& rows, const std::string& route) {
  std::vector<std::vector<std::int32_t>> out;
  for (const auto& row : rows) {
    if (row.target_begin > 0) out.emplace_back(row.ids.begin(), row.ids.begin() + row.target_begin);
  }
  QUIVER_CHECK(!out.empty(), usage, "--route " + route, "no training row of expert '{}' has a prompt",
               d.experts.names()[expert]);
  return out;
}

/// One table row per expert, for those that have none made with these options from these rows.
template <typename Compute>
json fill_expert_rows(const routing::DerivedKind& kind, const PrepareData& d, json options, std::int64_t limit,
                      Compute compute) {
  const auto& bank = *d.experts.bank;
  const routing::ExpertFiles files(d.experts.inputs, kind);
  std::size_t computed = 0;
  for (std::size_t e = 0; e < files.size(); ++e) {
    if (left_alone(d, files, e)) continue;
    const auto rows = rows_of(d, e, limit, kind.name);
    options["rows"] = hash_of_rows(rows);
    if (!d.again && files.open(e, options.dump())) continue;
    d.progress.update(kind.name, e, files.size(), files.name(e));
    routing::write_expert_row(files, bank, compute(static_cast<std::int64_t>(e), rows), 0, e, options.dump());
    ++computed;
  }
  d.progress.finish();
  return {{"prepared", computed}};
}

json prepare_average_activation(const training::AverageActivationOptions& options, const RouteSpec&,
                                const PrepareData& d) {
  const json made_with{{"token", static_cast<int>(options.token)}, {"base_only", options.base_only}};
  return fill_expert_rows(routing::kAverageActivations, d, made_with, limit_of(d, 100), [&](auto e, const auto& rows) {
    return training::average_activation(d.loaded.model, d.experts.bank, e, rows, options);
  });
}

json prepare_phatgoose(const PhatgooseSettings& settings, const RouteSpec&, const PrepareData& d) {
  auto options = d.options;
  options.batch_rows = 4;
  options.warmup = 0.1;
  options.max_steps = settings.steps;
  const json made_with{{"steps", settings.steps}, {"learning_rate", settings.learning_rate}, {"seed", options.seed}};
  const auto limit = limit_of(d, settings.steps * options.batch_rows);
  return fill_expert_rows(routing::kPhatgooseGates, d, made_with, limit, [&](auto e, const auto& rows) {
    std::vector<training::RoutedRow> routed;
    for (const auto& row : rows) routed.push_back({row, e});
    const auto each = static_cast<std::int64_t>(rows.size());
    options.epochs = (settings.steps * options.batch_rows + each - 1) / each;
    const training::RoutedTraining run{d.loaded.model, options, d.progress,
                                       "gate of " + d.experts.names()[static_cast<std::size_t>(e)]};
    return training::train_phatgoose_gates(run, d.experts.bank, e, settings.learning_rate, routed);
  });
}

/// Prompts of an expert's training rows, spread over all of them as training does.
std::vector<std::vector<std::int32_t>> signature_prompts(const PrepareData& d, std::size_t expert) {
  std::vector<std::pair<const data::Task*, std::size_t>> all;
  for (const auto* task : tasks_of(d, expert, "auto")) {
    for (const auto i : task->rows(data::Split::train)) all.emplace_back(task, i);
  }
  std::vector<data::Task> chosen;
  for (const auto n :
       routing::signature_rows(all.size(), static_cast<std::size_t>(limit_of(d, routing::kSignatureRows)))) {
    const auto& [task, i] = all[n];
    if (chosen.empty() || chosen.back().name != task->name) chosen.push_back({task->name, task->cluster, {}});
    chosen.back().examples.push_back(task->examples[i]);
  }
  std::vector<data::TokenRow> rows;
  for (const auto& task : chosen)
    add_rows(task, data::Split::train, 0, d.options.join, *d.loaded.text.tokenizer, d.progress, rows);
  return prompts_of(d, expert, rows, "auto");
}

json prepare_signatures(const routing::NoOptions&, const RouteSpec&, const PrepareData& d) {
  const routing::ExpertFiles files(d.experts.inputs, routing::kSignatures);
  std::size_t computed = 0;
  for (std::size_t e = 0; e < files.size(); ++e) {
    d.progress.update("signatures", e, files.size(), files.name(e));
    if (left_alone(d, files, e)) continue;
    const auto prompts = signature_prompts(d, e);
    if (!d.again && files.open(e, routing::made_from(prompts))) continue;
    routing::write_signature(*d.experts.library, files.name(e), d.experts.inputs.identities[e], d.loaded.model,
                             prompts);
    ++computed;
  }
  d.progress.finish();
  return {{"prepared", computed}};
}

json prepare_text(const data::TfidfOptions& options, const RouteSpec& spec, const PrepareData& d) {
  std::vector<std::vector<std::string>> prompts;
  const auto limit = static_cast<std::size_t>(limit_of(d, 200));
  for (std::size_t e = 0; e < d.experts.names().size(); ++e) {
    auto& own = prompts.emplace_back();
    const auto tasks = tasks_of(d, e, spec.name);
    for (const auto* task : tasks) {
      for (const auto i : task->rows(data::Split::train)) {
        if (own.size() >= limit * static_cast<std::size_t>(&task - tasks.data() + 1) / tasks.size()) break;
        own.push_back(task->examples[i].source);
      }
    }
  }
  routing::SavedRouter saved;
  saved.name = spec.name;
  saved.kind = "text";
  saved.experts = d.experts.names();
  saved.identities = d.experts.inputs.identities;
  saved.options = routing::save_text_profile(routing::fit_text_profile(prompts, options));
  saved.training = {{"route", spec.name}};
  routing::save_router(*d.experts.library, saved);
  return {{"name", saved.name}, {"experts", saved.experts.size()}};
}

json prepare_trained(const training::RouterOptions& options, const RouteSpec& spec, const PrepareData& d) {
  const auto rows = [&](data::Split split, std::int64_t limit) {
    return labelled_rows(d.tasks, split, limit, d.options.join, *d.loaded.text.tokenizer, d.progress);
  };
  const auto train = rows(data::Split::train, limit_of(d, 100)), validation = rows(data::Split::validation, 10);
  const auto name = d.name.empty() ? spec.name : d.name;
  const training::RoutedTraining run{d.loaded.model, d.options, d.progress, "router " + name};
  auto saved = training::train_router(run, d.experts.bank, options, name, train, validation);
  saved.identities = d.experts.inputs.identities;
  saved.training["route"] = spec.name;
  routing::save_router(*d.experts.library, saved);
  auto figures = saved.training;
  figures["name"] = name;
  return figures;
}

/// The states that MoA's classifiers are fitted on, of each expert's prompts under itself; kept ones are read.
std::vector<routing::PlaceStates> moa_states(const PrepareData& d, const routing::MoaShape& shape) {
  const routing::ExpertFiles files(d.experts.inputs, routing::moa_states_kind(shape));
  std::vector<routing::PlaceStates> out;
  for (std::size_t e = 0; e < files.size(); ++e) {
    d.progress.update("states", e, files.size(), files.name(e));
    if (left_alone(d, files, e)) {
      out.push_back(*routing::read_moa_features(files, e));
      continue;
    }
    const auto prompts = prompts_of(d, e, rows_of(d, e, limit_of(d, 100), "moa"), "moa");
    const auto made_with = routing::made_from(prompts);
    auto kept = d.again ? std::nullopt : routing::read_moa_features(files, e, made_with);
    if (!kept) {
      const std::vector<std::int64_t> own(prompts.size(), static_cast<std::int64_t>(e));
      kept = routing::moa_features(d.loaded.model, d.experts.bank, shape, prompts, own);
      routing::write_moa_features(files, e, *kept, made_with);
    }
    out.push_back(std::move(*kept));
  }
  d.progress.finish();
  return out;
}

json prepare_moa(const MoaSettings& settings, const RouteSpec& spec, const PrepareData& d) {
  auto options = settings.classifier;
  options.seed = d.options.seed;
  const auto fitted = routing::fit_moa(moa_states(d, settings.shape), options, d.progress);
  const auto name = d.name.empty() ? spec.name : d.name;
  auto saved = routing::save_moa(name, d.experts.names(), settings.shape, fitted.classifiers);
  saved.identities = d.experts.inputs.identities;
  saved.training = {{"route", spec.name},
                    {"rows", fitted.rows},
                    {"accuracy", fitted.accuracy},
                    {"accuracy_by_place", fitted.by_place}};
  routing::save_router(*d.experts.library, saved);
  auto figures = saved.training;
  figures["name"] = name;
  return figures;
}

/// What of PrepareData a route reads beside the tasks, their join rules and `limit`; by the names of the verb's
/// options.
const std::vector<std::string> kOfExperts{"again"}, kOfGates{"again", "seed"},
    kOfTraining{"name", "replace", "epochs", "max_steps", "batch", "seed"}, kOfMoa{"name", "replace", "again", "seed"},
    kOfText{"replace"};

struct Preparation {
  PrepareHelp help;
  std::function<void(const RouteSpec&)> check;
  std::function<json(const RouteSpec&, const PrepareData&)> prepare;
};

template <typename Settings>
Preparation preparation(std::string route, Leaves leaves, std::vector<std::string> reads, Settings defaults,
                        json (*prepare)(const Settings&, const RouteSpec&, const PrepareData&),
                        decltype(routing::SpecOptions<Settings>::together) together = nullptr) {
  const routing::SpecOptions<Settings> settings{std::move(defaults), together};
  const auto read = [settings](const RouteSpec& spec) {
    QUIVER_CHECK(spec.argument.empty(), usage, spec.where(), "'{}', expected key=value", spec.argument);
    return settings.read(spec);
  };
  Preparation out{{std::move(route), "", std::move(reads), leaves}, nullptr, nullptr};
  settings.show([&](const OptionSet& set) { out.help.settings = set.summary(); });
  out.help.prompts_alone = leaves == Leaves::signatures || out.help.route == "text";
  out.check = [read](const RouteSpec& spec) { read(spec); };
  out.prepare = [read, prepare](const RouteSpec& spec, const PrepareData& d) { return prepare(read(spec), spec, d); };
  return out;
}

void check_moa(const MoaSettings& settings, const OptionSet& given, const RouteSpec& spec) {
  QUIVER_CHECK(settings.classifier.depth == 2 || !given.given("width"), usage, spec.where(), "width goes with depth=2");
}

const std::vector<Preparation>& preparations() {
  static const std::vector<Preparation> table{
      preparation("average-activation", Leaves::expert_data, kOfExperts, training::AverageActivationOptions{},
                  prepare_average_activation),
      preparation("phatgoose", Leaves::expert_data, kOfGates, PhatgooseSettings{}, prepare_phatgoose),
      preparation("auto", Leaves::signatures, kOfExperts, routing::NoOptions{}, prepare_signatures),
      preparation("ariadne", Leaves::signatures, kOfExperts, routing::NoOptions{}, prepare_signatures),
      preparation("lorauter", Leaves::signatures, kOfExperts, routing::NoOptions{}, prepare_signatures),
      preparation("text", Leaves::router, kOfText, data::TfidfOptions{}, prepare_text),
      preparation("moa", Leaves::router, kOfMoa, MoaSettings{}, prepare_moa, check_moa),
      preparation("gates", Leaves::router, kOfTraining, gates_settings(), prepare_trained),
      preparation("molora", Leaves::router, kOfTraining, molora_settings(), prepare_trained),
      preparation("rkhs", Leaves::router, kOfTraining, rkhs_settings(), prepare_trained),
      preparation("product-keys", Leaves::router, kOfTraining, product_keys_settings(), prepare_trained),
      preparation("weights", Leaves::router, kOfTraining, weights_settings(), prepare_trained),
      preparation("soup", Leaves::router, kOfTraining, soup_settings(), prepare_trained),
      preparation("xlora", Leaves::router, kOfTraining, xlora_settings(), prepare_trained),
  };
  return table;
}

const Preparation* find_preparation(const std::string& route) {
  const auto found =
      std::find_if(preparations().begin(), preparations().end(), [&](const auto& p) { return route == p.help.route; });
  return found == preparations().end() ? nullptr : &*found;
}

}  // namespace

const std::vector<PrepareHelp>& prepare_table() {
  static const std::vector<PrepareHelp> table = [] {
    std::vector<PrepareHelp> out;
    for (const auto& p : preparations()) out.push_back(p.help);
    return out;
  }();
  return table;
}

const PrepareHelp* preparation_help(const std::string& route) {
  const auto* found = find_preparation(route);
  return found ? &found->help : nullptr;
}

void check_preparation(const RouteSpec& spec) {
  if (const auto* p = find_preparation(spec.name)) return p->check(spec);
  routing::check_route(spec, {});
}

void check_free(const RouteSpec& spec, const library::Library& library, const std::string& name, bool replace) {
  const auto* help = preparation_help(spec.name);
  if (!help || help->leaves != Leaves::router) return;
  const auto kept = name.empty() ? spec.name : name;
  routing::check_router_name(kept, spec.name);
  QUIVER_CHECK(name.empty() || !library.contains(name), usage, "router " + kept,
               "the library has an expert of that name; choose another --name");
  if (replace || !routing::has_router(library, kept)) return;
  const auto training = routing::training_of(library, kept);
  // One that does not say of what route it is was made by an earlier version, or by train.
  const auto made = training.is_object() && training.contains("route") ? training["route"] : json();
  const bool earlier = made.is_null() && kept == spec.name && !(training.is_object() && training.contains("method"));
  QUIVER_CHECK(made == spec.name || earlier, usage, "router " + kept,
               "the library has one of that name, made otherwise; choose another --name, or --replace it");
}

json prepare_from_tasks(const RouteSpec& spec, const PrepareData& data) {
  QUIVER_CHECK(data.experts.inputs.library, usage, spec.where(), "give --library DIR and no --adapter");
  return find_preparation(spec.name)->prepare(spec, data);
}

}  // namespace quiver::workspace
