// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>

#include <cmath>
#include <cstdio>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/clustering/similarity.h"
#include "quiver/evaluation/terminal_table.h"
#include "quiver/model/load.h"
#include "quiver/routing/directions.h"

namespace quiver::cli {
namespace {

using nlohmann::json;

struct Options {
  ModelOptions model;
  std::string action, library, name, output;
  std::vector<std::string> arguments;
  bool replace = false, allow_other_base = false, json = false;
};

json summary(const library::Library& library, const library::ExpertInfo& info) {
  const auto training = info.training.is_object() ? info.training : json::object();
  return {{"name", info.name},
          {"tasks", info.tasks},
          {"validation_loss", training.value("validation_loss", json())},
          {"steps", training.value("steps", json())},
          {"rank", training.value("options", json::object()).value("rank", json())},
          {"identity", info.identity},
          {"path", library.expert_folder(info.name).string()}};
}

void list(const Options& o) {
  const auto library = library::Library::open(o.library);
  evaluation::TextTable table{{"expert", "tasks", "rank", "steps", "validation loss"}, {}};
  for (const auto& name : library.names()) {
    const auto s = summary(library, library.info(name));
    if (o.json) {
      print_json(s);
      continue;
    }
    const auto text = [](const json& v) {
      return v.is_null() ? std::string("-") : v.is_number_float() ? fmt::format("{:.3f}", v.get<double>()) : v.dump();
    };
    table.rows.push_back({{name},
                          {join(s["tasks"].get<std::vector<std::string>>(), ",")},
                          {text(s["rank"])},
                          {text(s["steps"])},
                          {text(s["validation_loss"])}});
  }
  if (!o.json) std::printf("%s", evaluation::render_table(table, {colour_wanted(), 2, 48}).c_str());
}

const std::string& one_argument(const Options& o, const char* what) {
  QUIVER_CHECK(o.arguments.size() == 1, usage, "library " + o.action, "expected one {}, got {}", what,
               o.arguments.size());
  return o.arguments[0];
}

void show(const Options& o) {
  const auto library = library::Library::open(o.library);
  const auto info = library.info(one_argument(o, "expert name"));
  const auto adapter = library.load(info.name);
  json out = summary(library, info);
  out["base_fingerprint"] = info.base_fingerprint;
  out["training"] = info.training;
  out["scores"] = info.scores;
  out["parameters"] = adapter.parameters();
  out["sites"] = adapter.sites.size();
  if (o.json) return print_json(out);
  std::printf("%s\n", out.dump(2).c_str());
}

/// A PEFT folder, or a folder of them.
void add(const Options& o) {
  const fs::path source = one_argument(o, "PEFT folder");
  QUIVER_CHECK(fs::is_directory(source), not_found, source.string(), "no such folder");
  const auto model = load_model_only(o.model);
  const auto library =
      library::Library::open_or_create(o.library, o.model.model, model.fingerprint(), o.allow_other_base);
  std::vector<fs::path> folders;
  if (fs::exists(source / "adapter_config.json")) {
    folders.push_back(source);
  } else {
    for (const auto& entry : fs::directory_iterator(source)) {
      if (fs::exists(entry.path() / "adapter_config.json")) folders.push_back(entry.path());
    }
    std::sort(folders.begin(), folders.end());
    QUIVER_CHECK(!folders.empty(), not_found, source.string(), "no adapter_config.json in it or in its folders");
    QUIVER_CHECK(o.name.empty() || folders.size() == 1, usage, "--name", "{} adapters cannot all be '{}'",
                 folders.size(), o.name);
  }
  for (const auto& folder : folders) {
    const auto adapter = adapter::read_peft(folder);
    library::ExpertInfo info;
    const auto own = folder.filename().empty() ? folder.parent_path().filename() : folder.filename();
    info.name = o.name.empty() ? own.string() : o.name;
    info.base_fingerprint = model.fingerprint();
    if (fs::exists(folder / "expert.json")) {
      const auto known = json::parse(read_file(folder / "expert.json", 1 << 26), nullptr, false);
      if (known.is_object()) {
        info.tasks = known.value("tasks", std::vector<std::string>{});
        info.training = known.value("training", json());
        if (info.training.is_object()) info.training.erase("run_key");
      }
    }
    adapter::Bank(model).add(info.name, adapter);  // every site must be one of the base model's
    library.save(info, adapter, o.replace);
    if (o.json) {
      print_json(summary(library, library.info(info.name)));
    } else {
      std::printf("added %s: %zu sites\n", info.name.c_str(), adapter.sites.size());
    }
  }
}

void export_expert(const Options& o) {
  const auto library = library::Library::open(o.library);
  const auto& name = one_argument(o, "expert name");
  QUIVER_CHECK(!o.output.empty(), usage, "library export", "give --output DIR");
  const auto adapter = library.load(name);
  write_folder_atomically(o.output,
                          [&](const fs::path& folder) { adapter::write_peft(folder, adapter, library.base_model()); });
  if (!o.json) std::printf("%s\n", o.output.c_str());
  if (o.json) print_json({{"name", name}, {"path", o.output}});
}

void remove(const Options& o) {
  const auto library = library::Library::open(o.library);
  QUIVER_CHECK(!o.arguments.empty(), usage, "library remove", "give the names of experts");
  for (const auto& name : o.arguments) {
    library.remove(name);
    if (o.json) print_json({{"removed", name}});
    if (!o.json) std::printf("moved %s to %s\n", name.c_str(), (library.folder() / "removed").c_str());
  }
}

void verify(const Options& o) {
  const auto library = library::Library::open(o.library);
  const auto problems = library.verify();
  if (o.json) print_json({{"experts", library.names().size()}, {"problems", problems}});
  for (const auto& problem : problems) {
    if (!o.json) std::printf("%s\n", problem.c_str());
  }
  QUIVER_CHECK(problems.empty(), mismatch, library.folder().string(), "{} of {} experts have problems", problems.size(),
               library.names().size());
  if (!o.json) std::printf("%zu experts, all whole\n", library.names().size());
}

/// Norms of both products at each site and the cosine of the angle between their first directions.
void diff(const Options& o) {
  const auto library = library::Library::open(o.library);
  QUIVER_CHECK(o.arguments.size() == 2, usage, "library diff", "expected two expert names, got {}", o.arguments.size());
  const auto first = library.load(o.arguments[0]), second = library.load(o.arguments[1]);
  evaluation::TextTable table{{"site", "norm of first", "norm of second", "cosine of products", "cosine of directions"},
                              {}};
  for (const auto& [site, f] : first.sites) {
    const auto other = second.sites.find(site);
    if (other == second.sites.end()) continue;
    const adapter::Adapter a{first.options, {{site, f}}}, b{second.options, {{site, other->second}}};
    const auto gram = clustering::gram_matrix({&a, &b}, {});
    const double na = std::sqrt(gram[0][0].item<double>()), nb = std::sqrt(gram[1][1].item<double>());
    const double cosine = na > 0 && nb > 0 ? gram[0][1].item<double>() / (na * nb) : 0.0;
    const auto first = [](const ops::LoraFactors& factors) {
      return routing::spectrum_of(factors, routing::DirectionOptions::Length::unit).directions[0];
    };
    const auto pa = first(f), pb = first(other->second);
    const double directions = std::abs((pa * pb).sum().item<double>());
    if (o.json) print_json({{"site", site}, {"norms", {na, nb}}, {"cosine", cosine}, {"direction_cosine", directions}});
    table.rows.push_back({{site},
                          {fmt::format("{:.4f}", na)},
                          {fmt::format("{:.4f}", nb)},
                          {fmt::format("{:.4f}", cosine)},
                          {fmt::format("{:.4f}", directions)}});
  }
  if (!o.json) std::printf("%s", evaluation::render_table(table, {colour_wanted(), 1, 64}).c_str());
}

void run(const Options& o) {
  struct Action {
    const char* name;
    void (*run)(const Options&);
  };
  static constexpr Action kActions[] = {
      {"list", list},     {"show", show},     {"add", add},  {"export", export_expert},
      {"remove", remove}, {"verify", verify}, {"diff", diff}};
  std::vector<std::string> names;
  for (const auto& action : kActions) {
    if (o.action == action.name) return action.run(o);
    names.push_back(action.name);
  }
  fail(ErrorCode::usage, "library", "no action '{}'{}", o.action, suggestion(o.action, names));
}

}  // namespace

std::function<void()> declare_library(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("action", o->action, "list, show NAME, add DIR, export NAME, remove NAME..., verify, diff NAME NAME")
      ->required();
  app.add_option("arguments", o->arguments, "what the action is about");
  o->model.declare(app);
  app.add_option("--library", o->library, "the folder of a library")->required();
  app.add_option("--name", o->name, "add: the expert's name; default: the folder's");
  app.add_option("--output", o->output, "export: the folder to write");
  app.add_flag("--replace", o->replace, "add: overwrite an expert of the same name");
  app.add_flag("--allow-other-base", o->allow_other_base, "add: to a library over another base model");
  app.add_flag("--json", o->json, "an object per result");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
