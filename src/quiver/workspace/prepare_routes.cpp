// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/prepare_routes.h"

#include <algorithm>
#include <numeric>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/workspace/task_rows.h"
#include "quiver/routing/token/expert_rows.h"
#include "quiver/routing/request/fit_moa.h"
#include "quiver/routing/route_entry.h"
#include "quiver/routing/request/saved_moa.h"
#include "quiver/routing/request/signature.h"
#include "quiver/routing/request/text_router.h"
#include "quiver/training/methods/expert_rows_training.h"
#include "quiver/training/methods/router_training.h"

namespace quiver::workspace {
namespace {

using nlohmann::json;
using routing::RouteSpec;

/// The tasks of an expert among those given; none at all is an error, some missing is not.
std::vector<const data::Task*> tasks_of(const PrepareData& d, std::size_t expert, const std::string& route) {
  const auto& names = d.experts.inputs.expert_tasks[expert];
  std::vector<const data::Task*> out;
  for (const auto& task : d.tasks) {
    if (std::find(names.begin(), names.end(), task.name) != names.end()) out.push_back(&task);
  }
  QUIVER_CHECK(!out.empty(), usage, "--route " + route, "--task gives none of the tasks of expert '{}' ({})",
               d.experts.names()[expert], join(names, ", "));
  return out;
}

/// Training rows of an expert's tasks, `limit` of them in all, the tasks in turn.
std::vector<data::TokenRow> rows_of(const PrepareData& d, std::size_t expert, std::int64_t limit,
                                    const std::string& route) {
  const auto tasks = tasks_of(d, expert, route);
  const auto each = std::max<std::int64_t>(1, limit / static_cast<std::int64_t>(tasks.size()));
  std::vector<data::TokenRow> out;
  for (const auto* task : tasks)
    add_rows(*task, data::Split::train, each, d.options.join, *d.loaded.text.tokenizer, out);
  return out;
}

std::int64_t limit_of(const PrepareData& d, std::int64_t wanted) { return d.limit > 0 ? d.limit : wanted; }

std::vector<std::size_t> all_experts(const PrepareData& d) {
  std::vector<std::size_t> out(d.experts.names().size());
  std::iota(out.begin(), out.end(), std::size_t{0});
  return out;
}

/// One table row per expert, for those that have none made with these options.
template <typename Compute>
json fill_expert_rows(const RouteSpec& spec, const PrepareData& d, json options, Compute compute) {
  const auto& bank = *d.experts.bank;
  options["join"] = training::to_json(d.options.join);
  const auto made_with = options.dump();
  const auto missing =
      d.again ? all_experts(d) : routing::experts_without(*d.experts.library, bank, spec.name, made_with);
  for (std::size_t i = 0; i < missing.size(); ++i) {
    d.progress.update(spec.name, i, missing.size(), bank.names()[missing[i]]);
    const auto own = compute(static_cast<std::int64_t>(missing[i]));
    routing::SiteTable table(bank.model_sites(), bank.size());
    for (std::size_t s = 0; s < table.sites(); ++s) {
      const auto site = static_cast<std::int64_t>(s);
      table.site(site)[static_cast<std::int64_t>(missing[i])].copy_(own.site(site)[0]);
    }
    routing::write_expert_rows(*d.experts.library, bank, spec.name, table, {missing[i]}, made_with);
  }
  d.progress.finish();
  return {{"prepared", missing.size()}};
}

json prepare_average_activation(const RouteSpec& spec, const PrepareData& d) {
  spec.check_options({"token", "base_only"});
  training::AverageActivationOptions options;
  options.token = routing::choice_of(spec, "token", {"last", "mean"}, "last") == 1
                      ? training::AverageActivationOptions::Token::mean
                      : training::AverageActivationOptions::Token::last;
  options.base_only = spec.flag("base_only", false);
  const auto limit = limit_of(d, 100);
  const json made_with{{"token", static_cast<int>(options.token)}, {"base_only", options.base_only}, {"rows", limit}};
  return fill_expert_rows(spec, d, made_with, [&](std::int64_t e) {
    const auto rows = rows_of(d, static_cast<std::size_t>(e), limit, spec.name);
    return training::average_activation(d.loaded.model, d.experts.bank, e, rows, options);
  });
}

json prepare_phatgoose(const RouteSpec& spec, const PrepareData& d) {
  spec.check_options({"steps", "learning_rate"});
  auto options = d.options;
  options.batch_rows = 4;
  options.warmup = 0.1;
  options.max_steps = static_cast<std::int64_t>(spec.number("steps", 100));
  options.epochs = options.max_steps;  // the steps end it
  const double rate = spec.number("learning_rate", 1e-3);
  const auto limit = limit_of(d, options.max_steps * 4);
  const json made_with{{"steps", options.max_steps},
                       {"epochs", d.options.epochs},
                       {"learning_rate", rate},
                       {"seed", options.seed},
                       {"rows", limit}};
  return fill_expert_rows(spec, d, made_with, [&](std::int64_t e) {
    std::vector<training::RoutedRow> rows;
    for (auto& row : rows_of(d, static_cast<std::size_t>(e), limit, spec.name)) rows.push_back({std::move(row), e});
    const training::RoutedTraining run{d.loaded.model, options, d.progress,
                                       "gate of " + d.experts.names()[static_cast<std::size_t>(e)]};
    return training::train_phatgoose_gates(run, d.experts.bank, e, rate, rows);
  });
}

json prepare_signatures(const RouteSpec& spec, const PrepareData& d) {
  spec.check_options({});
  const auto limit = limit_of(d, routing::kSignatureRows);
  const auto made_with = training::signature_options(limit, d.options.join);
  const auto missing =
      d.again ? all_experts(d) : routing::experts_without_signature(*d.experts.library, *d.experts.bank, made_with);
  for (std::size_t i = 0; i < missing.size(); ++i) {
    const auto name = d.experts.names()[missing[i]];
    d.progress.update("signatures", i, missing.size(), name);
    std::vector<std::vector<std::int32_t>> prompts;
    for (const auto& row : rows_of(d, missing[i], limit, "auto"))
      prompts.emplace_back(row.ids.begin(), row.ids.begin() + row.target_begin);
    routing::write_signature(*d.experts.library, name, routing::prompt_features(d.loaded.model, prompts), made_with);
  }
  d.progress.finish();
  return {{"prepared", missing.size()}};
}

json prepare_text(const RouteSpec& spec, const PrepareData& d) {
  spec.check_options({"bigrams"});
  QUIVER_CHECK(d.name.empty(), usage, "--name " + d.name, "a library has one text profile, which --route text applies");
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
  saved.options = routing::save_text_profile(routing::fit_text_profile(prompts, {spec.flag("bigrams", false)}));
  routing::save_router(*d.experts.library, saved);
  return {{"name", saved.name}, {"experts", saved.experts.size()}};
}

/// Options of a trained router from its route; `molora`, `rkhs`, `product-keys` and `soup` are settings of the two
/// kinds.
training::RouterOptions router_options(const RouteSpec& spec) {
  using Kind = training::RouterOptions::Kind;
  training::RouterOptions o;
  o.kind = spec.name == "xlora"                            ? Kind::xlora
           : spec.name == "weights" || spec.name == "soup" ? Kind::weights
                                                           : Kind::gates;
  o.gate.kind = spec.name == "rkhs"           ? routing::GateKind::rkhs
                : spec.name == "product-keys" ? routing::GateKind::product_keys
                                              : routing::GateKind::linear;
  spec.check_options({"top_k", "temperature", "combine", "share_of_all", "input_norm", "balance", "entropy", "z",
                      "granularity", "softmax", "depth", "width", "per_site", "space", "embedding", "learning_rate"});
  o.mix.top_k = routing::count_of(spec, "top_k", spec.name == "molora" ? 2 : 0);
  o.mix.temperature =
      spec.find("temperature") == "sqrt" || !spec.find("temperature") ? 0.0 : spec.number("temperature", 1.0);
  o.mix.share_of_all = spec.flag("share_of_all", spec.name == "rkhs");
  o.mix.combine = routing::combine_of(spec);
  o.input_norm = static_cast<routing::Norm>(routing::choice_of(spec, "input_norm", {"none", "unit", "layer"}, "layer"));
  o.balance = spec.number("balance", 0.0);
  o.mutual_information = spec.number("entropy", 0.0);
  o.z = spec.number("z", 0.0);
  o.gate.space = static_cast<std::int64_t>(spec.number("space", 64));
  o.gate.embedding = static_cast<std::int64_t>(spec.number("embedding", 32));
  o.places.granularity =
      static_cast<routing::Granularity>(routing::choice_of(spec, "granularity", {"model", "layer", "site"}, "layer"));
  o.places.softmax = spec.flag("softmax", spec.name == "soup");
  o.depth = static_cast<int>(spec.number("depth", 1));
  o.width = static_cast<std::int64_t>(spec.number("width", 128));
  o.per_site = spec.flag("per_site", true);
  o.learning_rate = spec.number("learning_rate", o.kind == Kind::xlora ? 1e-3 : 1e-2);
  return o;
}

json prepare_trained(const RouteSpec& spec, const PrepareData& d) {
  const auto rows = [&](data::Split split, std::int64_t limit) {
    return labelled_rows(d.tasks, split, limit, d.options.join, *d.loaded.text.tokenizer);
  };
  const auto train = rows(data::Split::train, limit_of(d, 100)), validation = rows(data::Split::validation, 10);
  const auto name = d.name.empty() ? spec.name : d.name;
  const training::RoutedTraining run{d.loaded.model, d.options, d.progress, "router " + name};
  const auto saved = training::train_router(run, d.experts.bank, router_options(spec), name, train, validation);
  routing::save_router(*d.experts.library, saved);
  auto figures = saved.training;
  figures["name"] = name;
  return figures;
}

/// The states that MoA's classifiers are fitted on, of each expert's prompts under itself; kept ones are read.
std::vector<routing::PlaceStates> moa_states(const RouteSpec& spec, const PrepareData& d,
                                             const routing::MoaShape& shape) {
  std::vector<routing::PlaceStates> out;
  const auto& names = d.experts.names();
  for (std::size_t e = 0; e < names.size(); ++e) {
    d.progress.update("states", e, names.size(), names[e]);
    auto kept = routing::read_moa_features(*d.experts.library, shape, names[e]);
    if (!kept) {
      std::vector<std::vector<std::int32_t>> prompts;
      for (const auto& row : rows_of(d, e, limit_of(d, 100), spec.name))
        prompts.emplace_back(row.ids.begin(), row.ids.begin() + row.target_begin);
      const std::vector<std::int64_t> own(prompts.size(), static_cast<std::int64_t>(e));
      kept = routing::moa_features(d.loaded.model, d.experts.bank, shape, prompts, own);
      routing::write_moa_features(*d.experts.library, shape, names[e], *kept);
    }
    out.push_back(std::move(*kept));
  }
  d.progress.finish();
  return out;
}

json prepare_moa(const RouteSpec& spec, const PrepareData& d) {
  spec.check_options({"places", "pooling", "forcing", "depth", "width", "weight_decay", "steps"});
  routing::MoaShape shape;
  shape.places =
      static_cast<routing::MoaPlaces>(routing::choice_of(spec, "places", {"layer", "site", "once"}, "layer"));
  shape.pooling = static_cast<routing::Pooling>(routing::choice_of(spec, "pooling", {"last", "mean", "first"}, "last"));
  shape.forced = routing::choice_of(spec, "forcing", {"base", "expert"}, "base") == 1;
  routing::DomainClassifierOptions options;
  options.depth = static_cast<int>(spec.number("depth", options.depth));
  options.width = static_cast<std::int64_t>(spec.number("width", static_cast<double>(options.width)));
  options.weight_decay = spec.number("weight_decay", options.weight_decay);
  options.steps = static_cast<std::int64_t>(spec.number("steps", static_cast<double>(options.steps)));
  options.seed = d.options.seed;
  const auto fitted = routing::fit_moa(moa_states(spec, d, shape), options, d.progress);
  const auto name = d.name.empty() ? spec.name : d.name;
  auto saved = routing::save_moa(name, d.experts.names(), shape, fitted.classifiers);
  saved.training = {{"rows", fitted.rows}, {"accuracy", fitted.accuracy}, {"accuracy_by_place", fitted.by_place}};
  routing::save_router(*d.experts.library, saved);
  auto figures = saved.training;
  figures["name"] = name;
  return figures;
}

struct Preparation {
  const char* route;
  json (*prepare)(const RouteSpec&, const PrepareData&);
};

constexpr Preparation kPreparations[] = {
    {"average-activation", prepare_average_activation},
    {"phatgoose", prepare_phatgoose},
    {"auto", prepare_signatures},
    {"ariadne", prepare_signatures},
    {"lorauter", prepare_signatures},
    {"text", prepare_text},
    {"moa", prepare_moa},
    {"gates", prepare_trained},
    {"molora", prepare_trained},
    {"rkhs", prepare_trained},
    {"product-keys", prepare_trained},
    {"weights", prepare_trained},
    {"soup", prepare_trained},
    {"xlora", prepare_trained},
};

}  // namespace

bool prepared_from_tasks(const std::string& route) {
  return std::any_of(std::begin(kPreparations), std::end(kPreparations),
                     [&](const auto& p) { return route == p.route; });
}

json prepare_from_tasks(const RouteSpec& spec, const PrepareData& data) {
  QUIVER_CHECK(data.experts.inputs.library, usage, "--route " + spec.text, "give --library DIR and no --adapter");
  for (const auto& p : kPreparations) {
    if (spec.name == p.route) return p.prepare(spec, data);
  }
  return {};
}

}  // namespace quiver::workspace
