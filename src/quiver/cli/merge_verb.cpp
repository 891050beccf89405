// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdio>
#include <set>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/output_folder.h"
#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/merging/fold_base.h"
#include "quiver/merging/merge.h"
#include "quiver/model/load.h"

namespace quiver::cli {
namespace {

using nlohmann::json;

struct Options {
  std::string library, method, output, name, model;
  std::vector<std::string> experts, settings;
  std::vector<double> weights;
  bool into_base = false, replace = false, allow_other_base = false, list = false, json = false;
};

void list_methods(const Options& o) {
  evaluation::TextTable table{{"method", "what it does", "weights", "options"}, {}};
  for (const auto& m : merging::merge_table()) {
    if (o.json)
      print_json({{"method", m.name}, {"summary", m.summary}, {"weights", m.weights}, {"options", m.options}});
    table.rows.push_back({{m.name}, {m.summary}, {m.weights}, {m.options}});
  }
  if (!o.json) std::printf("%s", evaluation::render_table(table, {colour_wanted(), 4, 120}).c_str());
}

void check(const Options& o) {
  QUIVER_CHECK(!o.library.empty() && !o.method.empty(), usage, "merge", "give --library DIR and --method NAME");
  QUIVER_CHECK(!o.output.empty() || !o.name.empty(), usage, "merge", "give --output DIR, or --name to save an expert");
  QUIVER_CHECK(!o.into_base || (!o.model.empty() && !o.output.empty()), usage, "--into-base",
               "give --model DIR, a Hugging Face folder, and --output DIR");
  QUIVER_CHECK(o.into_base || o.model.empty(), usage, "--model", "only --into-base reads a model");
  QUIVER_CHECK(o.into_base || !o.allow_other_base, usage, "--allow-other-base", "only --into-base has a model");
  workspace::refuse_twice(o.experts, "--experts");
}

/// Before anything is computed.
void check_name(const Options& o, const library::Library& library) {
  if (o.name.empty()) return;
  library::check_expert_name(o.name);
  library.check_writable();
  QUIVER_CHECK(o.replace || !library.contains(o.name), usage, "expert " + o.name,
               "already in {}; --replace overwrites it", library.folder().string());
}

/// Throws Error{mismatch} where its fingerprint is not the library's.
fs::path base_folder(const Options& o, const library::Library& library) {
  const auto path = model::resolve_model(o.model);
  QUIVER_CHECK(fs::is_directory(path), usage, "--into-base",
               "{} is not a Hugging Face folder; a GGUF file's quantised weights cannot take an expert", path.string());
  if (!o.allow_other_base)
    library::check_base(library, model::load_model(path, model::default_dtype()).fingerprint(), false);
  return path;
}

OutputFolder output_of(const Options& o, const fs::path& base) {
  OutputFolder out{.path = o.output, .replace = o.replace, .inputs = {o.library}};
  out.files = o.into_base ? model_files() : adapter_files();
  if (o.into_base) out.inputs.push_back(base);
  return out;
}

/// name: of the result, for errors.
void write_result(const Options& o, const library::Library& library, const fs::path& base,
                  const adapter::Adapter& merged, const std::string& name) {
  write_output(output_of(o, base), [&](const fs::path& folder) {
    if (o.into_base) return merging::fold_into_base(base, merged, folder, name);
    adapter::write_peft(folder, merged, library.base_model());
  });
}

void save_expert(const Options& o, const library::Library& library, const std::vector<library::LoadedExpert>& loaded,
                 const std::vector<std::string>& experts, const adapter::Adapter& merged) {
  std::set<std::string> tasks;
  for (const auto& expert : loaded) tasks.insert(expert.info.tasks.begin(), expert.info.tasks.end());
  library::ExpertInfo info;
  info.name = o.name;
  info.tasks.assign(tasks.begin(), tasks.end());
  info.base_fingerprint = library.fingerprint();
  info.training = {{"merge", {{"method", o.method}, {"experts", experts}, {"weights", o.weights}, {"set", o.settings}}},
                   {"options", {{"rank", merged.options.rank}, {"alpha", merged.options.alpha}}}};
  library.save(info, merged, o.replace);
}

void run(const Options& o) {
  if (o.list) return list_methods(o);
  check(o);
  const auto begin = std::chrono::steady_clock::now();
  const auto options = merging::merge_options(o.method, key_values(o.settings, "--set"));
  const auto library = library::Library::open(o.library);
  check_name(o, library);
  const auto base = o.into_base ? base_folder(o, library) : fs::path();
  if (!o.output.empty()) check_output(output_of(o, base));
  const auto loaded = o.experts.empty() ? library.load_present(library.names()) : library.load_experts(o.experts);
  TerminalProgress progress;
  if (const auto line = workspace::strays_line(library); !line.empty() && o.experts.empty()) progress.say(line);
  std::vector<std::string> experts;
  for (const auto& expert : loaded) experts.push_back(expert.info.name);
  merging::MergeInput input{{}, o.weights, &progress, experts};
  for (const auto& expert : loaded) input.experts.push_back(&expert.adapter);
  const auto merged = merging::merge(o.method, input, options);
  if (!o.output.empty()) write_result(o, library, base, merged, experts.size() == 1 ? experts[0] : o.method);
  if (!o.name.empty()) save_expert(o, library, loaded, experts, merged);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  const auto output = o.output.empty() ? library.expert_folder(o.name).string() : o.output;
  if (o.json)
    return print_json({{"method", o.method},
                       {"experts", experts},
                       {"output", output},
                       {"parameters", merged.parameters()},
                       {"seconds", seconds.count()}});
  std::printf("%s: %s of %zu experts, %.1f s\n", output.c_str(), o.method.c_str(), experts.size(), seconds.count());
}

}  // namespace

std::function<void()> declare_merge(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("--library", o->library, "the folder of a library");
  app.add_option("--method", o->method, "how; --list shows the methods and what they take");
  app.add_option("--output", o->output, "the folder to write: a PEFT adapter, or with --into-base a whole model");
  app.add_option("--experts", o->experts, "only these experts, in this order")->delimiter(',');
  app.add_option("--weights", o->weights, "one per expert; default: the method's")->delimiter(',');
  app.add_option("--set", o->settings, "KEY=VALUE, an option of the method (repeatable)")->take_all();
  app.add_option("--name", o->name, "also save the result into the library as an expert of this name");
  app.add_flag(
      "--replace", o->replace,
      "overwrite an expert of the same name; in --output, the files of an earlier result: all others there stay");
  app.add_flag("--into-base", o->into_base, "fold the result into the weights of --model");
  app.add_option("--model", o->model, "with --into-base: the base model, a Hugging Face folder");
  app.add_flag("--allow-other-base", o->allow_other_base, "fold into a model that the experts were not trained on");
  app.add_flag("--list", o->list, "show the methods");
  app.add_flag("--json", o->json, "one object {method, experts, output, parameters, seconds}");
  return [o, &app] {
    if (o->list) refuse_unread(app, {"list", "json"}, "merge --list");
    run(*o);
  };
}

}  // namespace quiver::cli
