// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/clustering/difference.h"
#include "quiver/evaluation/results_json.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/library/export.h"
#include "quiver/library/listing.h"
#include "quiver/workspace/add_experts.h"

namespace quiver::cli {
namespace {

using nlohmann::json;

struct LibraryOptions {
  ModelOptions model;
  std::string action, library, name, output, format = "auto";
  std::vector<std::string> arguments, experts, exclude, tasks;
  std::optional<double> alpha;
  bool replace = false, allow_other_base = false, json = false;
};

/// The experts given as arguments and by --experts, or else all, without those of --exclude.
std::vector<std::string> chosen_experts(const library::Library& library, const LibraryOptions& o) {
  auto names = o.arguments;
  names.insert(names.end(), o.experts.begin(), o.experts.end());
  return library::choose_experts(library, names, o.exclude);
}

/// The object, or the line.
void report(const LibraryOptions& o, const json& object, const std::string& line) {
  if (o.json) return print_json(object);
  std::printf("%s\n", line.c_str());
}

void say_strays(const library::Library& library) {
  if (const auto line = library::strays_line(library); !line.empty()) std::fprintf(stderr, "%s\n", line.c_str());
}

void list(const LibraryOptions& o) {
  const auto library = library::Library::open(o.library);
  evaluation::TextTable table{{"expert", "tasks", "kind", "rank", "steps", "validation loss"}, {}};
  const bool all = o.arguments.empty() && o.experts.empty() && o.exclude.empty();
  std::vector<library::ExpertInfo> infos;
  if (all) infos = library.infos();
  for (const auto& name : all ? std::vector<std::string>() : chosen_experts(library, o))
    infos.push_back(library.info(name));
  if (all) say_strays(library);
  for (const auto& info : infos) {
    const auto s = library::summary(library, info);
    if (o.json) {
      print_json(s);
      continue;
    }
    const auto text = [](const json& v) {
      return v.is_null() ? std::string("-") : v.is_number_float() ? fmt::format("{:.3f}", v.get<double>()) : v.dump();
    };
    table.rows.push_back({{info.name},
                          {join(s["tasks"].get<std::vector<std::string>>(), ",")},
                          {s["kind"].is_null() ? "-" : s["kind"].get<std::string>()},
                          {text(s["rank"])},
                          {text(s["steps"])},
                          {text(s["validation_loss"])}});
  }
  if (!o.json) std::printf("%s", evaluation::render_table(table, {colour_wanted(), 2, 48}).c_str());
}

void show_one(const LibraryOptions& o, const library::Library& library, const std::string& name) {
  const auto [info, adapter] = library.load_expert(name);
  json out = library::summary(library, info);
  out["base_fingerprint"] = info.base_fingerprint;
  out["training"] = info.training;
  out["scores"] = info.scores;
  out["parameters"] = adapter.parameters();
  out["sites"] = adapter.sites.size();
  report(o, out, out.dump(2));
}

void show(const LibraryOptions& o) {
  const auto library = library::Library::open(o.library);
  QUIVER_CHECK(!o.arguments.empty() || !o.experts.empty() || !o.exclude.empty(), usage, "library show",
               "give the names of experts");
  for (const auto& name : chosen_experts(library, o)) show_one(o, library, name);
}

void remove(const LibraryOptions& o) {
  const auto library = library::Library::open(o.library);
  QUIVER_CHECK(!o.arguments.empty() || !o.experts.empty(), usage, "library remove", "give the names of experts");
  for (const auto& name : chosen_experts(library, o)) {
    library.remove(name);
    report(o, {{"removed", name}}, fmt::format("moved {} to {}", name, (library.folder() / "removed").string()));
  }
}

void restore(const LibraryOptions& o) {
  const auto library = library::Library::open(o.library);
  QUIVER_CHECK(!o.arguments.empty(), usage, "library restore", "give the names of experts");
  for (const auto& name : o.arguments) {
    library::restore_expert(library, name);
    report(o, {{"restored", name}}, "restored " + name);
  }
}

void verify(const LibraryOptions& o) {
  QUIVER_CHECK(o.arguments.empty(), usage, "library verify", "'{}', but it checks all experts and takes no names",
               o.arguments[0]);
  const auto library = library::Library::open(o.library);
  const auto problems = library.verify();
  say_strays(library);
  if (o.json) print_json({{"experts", library.names().size()}, {"problems", problems}});
  for (const auto& problem : problems) {
    if (!o.json) std::printf("%s\n", problem.c_str());
  }
  QUIVER_CHECK(problems.empty(), mismatch, library.folder().string(), "{} of {} experts have problems", problems.size(),
               library.names().size());
  if (!o.json) std::printf("%zu experts, all whole\n", library.names().size());
}

/// What is known of experts, said anew.
void set(const LibraryOptions& o) {
  const auto library = library::Library::open(o.library);
  QUIVER_CHECK((!o.arguments.empty() || !o.experts.empty()) && !o.tasks.empty(), usage, "library set",
               "give the names of experts and --tasks, what they were trained for");
  for (const auto& name : chosen_experts(library, o)) {
    library.set_tasks(name, o.tasks);
    report(o, library::summary(library, library.info(name)), fmt::format("{}: tasks {}", name, join(o.tasks, ", ")));
  }
}

void report_added(const LibraryOptions& o, const workspace::AddedExpert& added) {
  if (!added.error.empty()) {
    if (o.json) print_json({{"name", added.name}, {"error", added.error}});
    std::fprintf(stderr, "not added: %s: %s\n", added.name.c_str(), added.error.c_str());
    return;
  }
  if (!added.skipped.empty())
    return report(o, {{"name", added.name}, {"skipped", added.skipped}},
                  fmt::format("skipped {}: {}", added.name, added.skipped));
  auto object = added.summary;
  object["notes"] = added.notes;
  report(o, object, fmt::format("added {}: {} sites", added.name, added.sites));
  for (const auto& note : added.notes) std::fprintf(stderr, "%s: %s\n", added.name.c_str(), note.c_str());
}

void add(const LibraryOptions& o) {
  QUIVER_CHECK(o.arguments.size() == 1, usage, "library add", "expected one folder of adapters, got {}",
               o.arguments.size());
  const workspace::AddOptions options{.model = o.model,
                                      .library = o.library,
                                      .source = o.arguments[0],
                                      .format = library::collection_format_of_name(o.format),
                                      .name = o.name,
                                      .tasks = o.tasks,
                                      .alpha = o.alpha,
                                      .replace = o.replace,
                                      .allow_other_base = o.allow_other_base};
  workspace::add_experts(options, [&](const auto& added) { report_added(o, added); });
}

void export_to(const LibraryOptions& o) {
  const auto library = library::Library::open(o.library);
  const auto format = library::collection_format_of_name(o.format);
  const auto names = chosen_experts(library, o);
  QUIVER_CHECK(!o.output.empty(), usage, "library export", "give --output DIR");
  const bool alone = o.arguments.size() == 1 && names.size() == 1 && format != library::CollectionFormat::mttl;
  const auto places = library::export_experts(library, names, {o.output, format, alone, o.replace});
  for (std::size_t i = 0; i < names.size(); ++i)
    report(o, {{"name", names[i]}, {"path", places[i]}}, places[i].string());
}

std::string number(double value, int digits) { return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, digits); }

void diff(const LibraryOptions& o) {
  const auto library = library::Library::open(o.library);
  QUIVER_CHECK(o.arguments.size() == 2, usage, "library diff", "expected two expert names, got {}", o.arguments.size());
  const auto first = library.load(o.arguments[0]), second = library.load(o.arguments[1]);
  evaluation::TextTable table{
      {"site", "norm of " + o.arguments[0], "norm of " + o.arguments[1], "cosine", "input angle", "output angle"}, {}};
  for (const auto& d : clustering::differences(first, second, {o.arguments[0], o.arguments[1]})) {
    table.rows.push_back({{d.site},
                          {number(d.norm_a, 4)},
                          {number(d.norm_b, 4)},
                          {number(d.cosine, 4)},
                          {number(d.input_angle, 1)},
                          {number(d.output_angle, 1)}});
    if (!o.json) continue;
    print_json({{"site", d.site},
                {"norm_a", d.norm_a},
                {"norm_b", d.norm_b},
                {"cosine", evaluation::number_or_null(d.cosine)},
                {"input_angle", evaluation::number_or_null(d.input_angle)},
                {"output_angle", evaluation::number_or_null(d.output_angle)}});
  }
  if (!o.json) std::printf("%s", evaluation::render_table(table, {colour_wanted(), 1, 64}).c_str());
}

void check_tasks(const LibraryOptions& o) {
  QUIVER_CHECK(std::none_of(o.tasks.begin(), o.tasks.end(), [](const auto& task) { return task.empty(); }), usage,
               "--tasks", "an empty name among them");
  workspace::refuse_twice(o.tasks, "--tasks");
}

struct Action {
  const char* name;
  void (*run)(const LibraryOptions&);
  std::vector<std::string> reads;  ///< options beside --library and --json
};

const std::vector<Action>& actions() {
  static const std::vector<Action> table{
      {"list", list, {"experts", "exclude"}},
      {"show", show, {"experts", "exclude"}},
      {"add",
       add,
       {"model", "dtype", "device", "threads", "name", "tasks", "format", "alpha", "replace", "allow-other-base"}},
      {"set", set, {"tasks", "experts", "exclude"}},
      {"export", export_to, {"experts", "exclude", "format", "output", "replace"}},
      {"remove", remove, {"experts", "exclude"}},
      {"restore", restore, {}},
      {"verify", verify, {}},
      {"diff", diff, {}}};
  return table;
}

void run(const LibraryOptions& o, const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto& action : actions()) {
    names.push_back(action.name);
    if (o.action != action.name) continue;
    auto reads = action.reads;
    reads.insert(reads.end(), {"library", "json"});
    refuse_unread(app, reads, "library " + o.action);
    check_tasks(o);
    return action.run(o);
  }
  fail(ErrorCode::usage, "library", "no action '{}'{}", o.action, suggestion(o.action, names));
}

}  // namespace

std::function<void()> declare_library(CLI::App& app) {
  auto o = std::make_shared<LibraryOptions>();
  app.add_option("action", o->action,
                 "list, show NAME..., add DIR, set NAME..., export [NAME...], remove NAME..., restore NAME..., verify, "
                 "diff NAME NAME")
      ->required();
  app.add_option("arguments", o->arguments, "what the action is about");
  declare(app, o->model);
  app.add_option("--library", o->library, "the folder of a library")->required();
  app.add_option("--experts", o->experts, "list, show, set, export, remove: only these")->delimiter(',');
  app.add_option("--exclude", o->exclude, "list, show, set, export, remove: all but these")->delimiter(',');
  app.add_option("--name", o->name, "add: the expert's name; default: the folder's");
  app.add_option("--tasks", o->tasks, "add, set: what the expert was trained for, by the names of task files")
      ->delimiter(',');
  app.add_option("--format", o->format, "add: auto, peft, mttl or pemt; export: peft (also auto) or mttl")
      ->capture_default_str();
  app.add_option("--alpha", o->alpha, "add: lora_alpha of MTTL experts whose metadata does not say it");
  app.add_option(
      "--output", o->output,
      "export: the folder to write; one NAME is written into it, several or all into folders of their names");
  app.add_flag("--replace", o->replace,
               "add: overwrite an expert of the same name; export: replace the files of an earlier export, all others "
               "there stay");
  app.add_flag("--allow-other-base", o->allow_other_base, "add: to a library over another base model");
  app.add_flag("--json", o->json, "an object per result");
  return [o, &app] { run(*o, app); };
}

}  // namespace quiver::cli
