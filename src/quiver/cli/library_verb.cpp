// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/cli/library_actions.h"
#include "quiver/cli/verb.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/library/collection.h"

namespace quiver::cli {
namespace {

using nlohmann::json;

void say_strays(const library::Library& library) {
  if (const auto line = workspace::strays_line(library); !line.empty()) std::fprintf(stderr, "%s\n", line.c_str());
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
    const auto s = summary(library, info);
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
  json out = summary(library, info);
  out["base_fingerprint"] = info.base_fingerprint;
  out["training"] = info.training;
  out["scores"] = info.scores;
  out["parameters"] = adapter.parameters();
  out["sites"] = adapter.sites.size();
  if (o.json) return print_json(out);
  std::printf("%s\n", out.dump(2).c_str());
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
    if (o.json) print_json({{"removed", name}});
    if (!o.json) std::printf("moved %s to %s\n", name.c_str(), (library.folder() / "removed").c_str());
  }
}

void restore(const LibraryOptions& o) {
  const auto library = library::Library::open(o.library);
  QUIVER_CHECK(!o.arguments.empty(), usage, "library restore", "give the names of experts");
  for (const auto& name : o.arguments) {
    library::restore_expert(library, name);
    if (o.json) print_json({{"restored", name}});
    if (!o.json) std::printf("restored %s\n", name.c_str());
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
    if (o.json) print_json(summary(library, library.info(name)));
    if (!o.json) std::printf("%s: tasks %s\n", name.c_str(), join(o.tasks, ", ").c_str());
  }
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
       add_experts,
       {"model", "dtype", "device", "threads", "name", "tasks", "format", "alpha", "replace", "allow-other-base"}},
      {"set", set, {"tasks", "experts", "exclude"}},
      {"export", export_experts, {"experts", "exclude", "format", "output", "replace"}},
      {"remove", remove, {"experts", "exclude"}},
      {"restore", restore, {}},
      {"verify", verify, {}},
      {"diff", diff_experts, {}}};
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

const std::string& one_argument(const LibraryOptions& o, const char* what) {
  QUIVER_CHECK(o.arguments.size() == 1, usage, "library " + o.action, "expected one {}, got {}", what,
               o.arguments.size());
  return o.arguments[0];
}

std::vector<std::string> chosen_experts(const library::Library& library, const LibraryOptions& o) {
  auto names = o.arguments;
  names.insert(names.end(), o.experts.begin(), o.experts.end());
  for (const auto& name : names) library.info(name);  // throws where there is none
  for (const auto& name : o.exclude) library.info(name);
  if (names.empty()) names = library.names();
  std::vector<std::string> out;
  for (const auto& name : names) {
    const bool excluded = std::find(o.exclude.begin(), o.exclude.end(), name) != o.exclude.end();
    if (!excluded && std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
  }
  QUIVER_CHECK(!out.empty(), usage, "library " + o.action, "no expert of {} is chosen", library.folder().string());
  return out;
}

namespace {

/// The kinds that an expert was trained as, parted by commas; empty where nothing is known of its training.
std::string kinds_of(const json& training) {
  if (!training.contains("options") || !training["options"].is_object()) return "";
  const auto kind = training["options"].value("kind", json());
  if (!kind.is_object()) return "lora";
  return join(kind.value("kinds", std::vector<std::string>{}), ",");
}

}  // namespace

json summary(const library::Library& library, const library::ExpertInfo& info) {
  const auto training = info.training.is_object() ? info.training : json::object();
  const auto kinds = kinds_of(training);
  const bool factors =
      kinds.find("lora") != kinds.npos || kinds.find("dora") != kinds.npos || kinds.find("vera") != kinds.npos;
  const auto rank = factors ? training["options"].value("rank", json()) : json();
  return {{"name", info.name},
          {"tasks", info.tasks},
          {"kind", kinds.empty() ? json() : json(kinds)},
          {"validation_loss", training.value("validation_loss", json())},
          {"steps", training.value("steps", json())},
          {"rank", rank},
          {"identity", info.identity},
          {"path", library.expert_folder(info.name).string()}};
}

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
