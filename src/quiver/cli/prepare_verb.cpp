// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/options.h"
#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/declare_options.h"
#include "quiver/cli/verb.h"
#include "quiver/routing/router_table.h"
#include "quiver/workspace/example_prompts.h"
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
  std::vector<std::string> routes{"arrow"}, examples;
  std::string name;
  std::int64_t limit = 0;
  bool again = false, replace = false, json = false;
  OptionSet set;

  Options() {
    train.epochs = 1;
    set.text("name", name, "of a trained router").shown_default("the route's");
    set.integer("limit", limit, at_least(0), "rows of each expert or task; 0: as many as the route wants")
        .integer("epochs", train.epochs, at_least(1), "trained routers: passes over the rows")
        .integer("max_steps", train.max_steps, at_least(0),
                 "trained routers: stop after so many steps, if the epochs are not over; 0: never")
        .integer("batch", train.batch_rows, at_least(1), "trained routers: rows per step")
        .integer("seed", train.seed, at_least(0), "of what is drawn")
        .flag("again", again, "compute again what is there already")
        .flag("replace", replace, "overwrite a router of the same name that is not this route's");
  }
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
void from_experts(const Options& o, const std::vector<std::string>& routes, const ExpertSet& experts) {
  for (const auto& route : routes) {
    make_router(route, experts);
    report(o, route, experts, nlohmann::json::object());
  }
}

/// Of a route that is prepared from tasks; null of others.
const PrepareHelp* help_of(const std::string& route) {
  return workspace::preparation_help(routing::parse_route(route).name);
}

void from_tasks(Options& o, const std::vector<std::string>& routes, const LoadedModel& loaded, ExpertSet& experts,
                Progress& progress) {
  const auto rules = text_rules(o.join, loaded, known_rules(experts), vectors_before(experts));
  for (const auto& note : rules.notes) progress.say(note);
  o.train.join = rules.join;
  auto tasks = o.tasks.paths.empty() ? std::vector<data::Task>() : o.tasks.read(loaded.text, progress);
  for (auto& task : read_example_prompts(o.examples, experts)) tasks.push_back(std::move(task));
  const PrepareData data{loaded, experts, std::move(tasks), o.train, o.limit, o.name, progress, o.again};
  for (const auto& route : routes) report(o, route, experts, prepare_from_tasks(routing::parse_route(route), data));
}

/// An option that none of the routes reads.
void check_read(const Options& o) {
  std::vector<std::string> read{"limit"};
  bool from_tasks = false;
  std::size_t named = 0;
  bool joins = false;
  for (const auto& route : o.routes) {
    const auto* help = help_of(route);
    if (!help) continue;
    read.insert(read.end(), help->reads.begin(), help->reads.end());
    from_tasks = true;
    joins = joins || help->joins();
    named += std::find(help->reads.begin(), help->reads.end(), "name") != help->reads.end();
    QUIVER_CHECK(!o.tasks.paths.empty() || !o.examples.empty(), usage, "prepare --route " + route,
                 "it learns from the experts' tasks; give --task FOLDER{}",
                 help->prompts_alone ? ", or --examples NAME=FILE for each expert" : "");
    QUIVER_CHECK(
        o.examples.empty() || help->prompts_alone, usage, "--examples",
        "prepare --route {} does not read it, for it learns from answers too; auto, ariadne, lorauter and text do",
        route);
  }
  QUIVER_CHECK(o.name.empty() || named < 2, usage, "--name " + o.name, "{} routes would be kept under it", named);
  const auto who = "prepare --route " + join(o.routes, ", ");
  for (const auto* option : {"--task", "--examples"}) {
    const bool given = !(option == std::string("--task") ? o.tasks.paths : o.examples).empty();
    QUIVER_CHECK(from_tasks || !given, usage, option, "{} does not read it: it is computed from the experts alone",
                 who);
  }
  if (!from_tasks) read.clear();
  refuse_unread(o.texts, joins ? o.texts.names() : std::vector<std::string>(), who);
  refuse_unread(o.set, read, who, [](const std::string& option) {
    std::vector<std::string> out;
    for (const auto& help : workspace::prepare_table()) {
      const bool reads =
          option == "limit" || std::find(help.reads.begin(), help.reads.end(), option) != help.reads.end();
      if (reads) out.push_back(help.route);
    }
    return out;
  });
}

void run(Options& o) {
  TerminalProgress progress;
  for (const auto& route : o.routes) workspace::check_preparation(routing::parse_route(route));
  check_read(o);
  QUIVER_CHECK(!o.experts.library.empty(), usage, "prepare", "give --library DIR");
  const auto library = library::Library::open(o.experts.library);
  library.check_writable();
  std::vector<std::string> plain, learning;
  for (const auto& route : o.routes) {
    workspace::check_free(routing::parse_route(route), library, o.name, o.replace);
    (help_of(route) ? learning : plain).push_back(route);
  }
  if (learning.empty()) return from_experts(o, plain, load_experts(o.experts, load_model_only(o.model), progress));
  const auto loaded = load(o.model);
  auto experts = load_experts(o.experts, loaded, progress);
  from_experts(o, plain, experts);
  from_tasks(o, learning, loaded, experts, progress);
}

/// Every route with its settings, a line each.
std::string settings_help() {
  std::string out;
  for (const auto& help : workspace::prepare_table())
    out += "\n" + help.route + (help.settings.empty() ? "" : ":" + help.settings);
  return out;
}

}  // namespace

std::function<void()> declare_prepare(CLI::App& app) {
  auto o = std::make_shared<Options>();
  declare(app, o->model);
  declare(app, o->experts);
  declare(app, o->join, o->texts);
  app.add_option("--route", o->routes,
                 "the routes to make ready (repeatable): arrow; with --task also" + settings_help());
  app.add_option("--task", o->tasks.paths, "task files or folders that the route learns from (repeatable)");
  app.add_option(
      "--examples", o->examples,
      "NAME=FILE, a handful of prompts for expert NAME in the place of its tasks (repeatable): a line each, or "
      "JSON texts; auto, ariadne, lorauter, text");
  declare(app, o->set);
  app.add_flag("--json", o->json, "an object per route");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
