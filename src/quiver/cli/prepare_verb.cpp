// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/workspace/prepare_routes.h"

namespace quiver::cli {

using namespace workspace;

namespace {

struct Options {
  ModelOptions model;
  ExpertOptions experts;
  TaskOptions tasks;
  JoinChoice join;
  OptionSet texts;
  training::TrainOptions train;
  std::vector<std::string> routes{"arrow"};
  std::string name;
  std::int64_t limit = 0;
  bool again = false, json = false;
};

void report(const Options& o, const std::string& route, const ExpertSet& experts, nlohmann::json figures) {
  figures["route"] = route;
  figures["experts"] = experts.bank->size();
  if (o.json) return print_json(figures);
  const auto computed =
      figures.contains("prepared") ? fmt::format(", {} of them computed now", figures["prepared"].dump()) : "";
  std::printf("%s: ready over %lld experts%s\n", route.c_str(), static_cast<long long>(experts.bank->size()),
              computed.c_str());
}

/// Routes that need the experts alone: what they derive is computed and stored when they are made.
void from_experts(const Options& o, const std::vector<std::string>& routes, Progress& progress) {
  const auto model = load_model_only(o.model);
  const auto experts = load_experts(o.experts, model, progress);
  for (const auto& route : routes) {
    make_router(route, experts);
    report(o, route, experts, nlohmann::json::object());
  }
}

void from_tasks(Options& o, const std::vector<std::string>& routes, Progress& progress) {
  QUIVER_CHECK(!o.tasks.paths.empty(), usage, "prepare --route " + routes[0],
               "it learns from the experts' tasks; give --task FOLDER");
  const auto loaded = load(o.model);
  const auto experts = load_experts(o.experts, loaded, progress);
  const auto rules = text_rules(o.join, loaded, known_rules(o.experts, experts), vectors_before(experts));
  for (const auto& note : rules.notes) progress.say(note);
  o.train.join = rules.join;
  const PrepareData data{loaded,   experts, o.tasks.read(loaded.text, progress), o.train, o.limit, o.name,
                         progress, o.again};
  for (const auto& route : routes) report(o, route, experts, prepare_from_tasks(routing::parse_route(route), data));
}

void run(Options& o) {
  TerminalProgress progress;
  QUIVER_CHECK(!o.experts.library.empty(), usage, "prepare", "give --library DIR");
  std::vector<std::string> plain, learning;
  for (const auto& route : o.routes)
    (prepared_from_tasks(routing::parse_route(route).name) ? learning : plain).push_back(route);
  if (!plain.empty()) from_experts(o, plain, progress);
  if (!learning.empty()) from_tasks(o, learning, progress);
}

}  // namespace

std::function<void()> declare_prepare(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->train.epochs = 1;
  declare(app, o->model);
  declare(app, o->experts);
  declare(app, o->join, o->texts);
  app.add_option(
      "--route", o->routes,
      "the routes to make ready (repeatable): arrow; with --task also average-activation, phatgoose, auto, text, "
      "and routers to be trained: gates, molora, rkhs, product-keys, weights, soup, xlora");
  app.add_option("--task", o->tasks.paths, "task files or folders that the route learns from (repeatable)");
  app.add_option("--name", o->name, "of a trained router; default: the route's");
  app.add_option("--limit", o->limit, "rows of each expert or task; 0: as many as the route wants")
      ->capture_default_str();
  app.add_option("--epochs", o->train.epochs, "trained routers: passes over the rows")->capture_default_str();
  app.add_option("--max-steps", o->train.max_steps, "trained routers: stop after so many steps; 0: after the epochs")
      ->capture_default_str();
  app.add_option("--batch", o->train.batch_rows, "trained routers: rows per step")->capture_default_str();
  app.add_option("--seed", o->train.seed, "of what is drawn")->capture_default_str();
  app.add_flag("--again", o->again,
               "compute again what was made with the same options, as where rows of the tasks have changed");
  app.add_flag("--json", o->json, "an object per route");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
