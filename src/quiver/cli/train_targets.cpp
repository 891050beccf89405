// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/train_targets.h"

#include <array>
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/workspace/task_rows.h"

namespace quiver::cli {

using namespace workspace;

namespace {

struct Method {
  const char* name;
  const char* settings;  ///< KEY=VALUES, parted by spaces, as help shows them
  Learn learn;
  bool joint = false;  ///< one target of all tasks, named after the method where it has no name
};

const std::array<Method, 6> kMethods{{
    {"pemt",
     "sources=a,b,c gate=prompt-mean|correlation attention=live|once temperature=T sparsity_weight=W "
     "sparsity_mask=true|false layer_norms=true|false experts=lora|bottleneck fold=true|false",
     learn_pemt},
    {"attempt", "sources=a,b,c width=N temperature=T attention_rate=R norm=true|false", learn_attempt},
    {"mpt", "", learn_mpt},
    {"adamix", "copies=N share=second|first|none consistency=C", learn_adamix},
    {"fusion", "sources=a,b,c temperature=T regularisation=R", learn_fusion},
    {"moa", "eta=W rate=R places=layer|site pooling=last|mean|first", learn_moa, true},
}};

std::vector<std::string> keys_of(const Method& method) {
  std::vector<std::string> out;
  for (const auto& setting : split(method.settings, ' ')) {
    if (!setting.empty()) out.push_back(setting.substr(0, setting.find('=')));
  }
  return out;
}

/// --set key=value as the options of a route, which are read alike.
routing::RouteSpec spec_of(const Method& method, const std::vector<std::string>& settings) {
  routing::RouteSpec out;
  out.text = out.name = method.name;
  for (const auto& setting : settings) {
    const auto at = setting.find('=');
    QUIVER_CHECK(at != std::string::npos && at > 0, usage, "--set " + setting, "expected KEY=VALUE");
    out.options.emplace_back(setting.substr(0, at), setting.substr(at + 1));
  }
  const auto known = keys_of(method);
  for (const auto& [key, value] : out.options) {
    QUIVER_CHECK(std::find(known.begin(), known.end(), key) != known.end(), usage, "--set " + key,
                 "--method {} has no such setting{}", method.name, suggestion(key, known));
  }
  return out;
}

std::vector<Target> targets_of(const TargetRun& run, const Method& method, Progress& progress) {
  std::vector<Target> out;
  const auto name = run.name.empty() && method.joint ? std::string(method.name) : run.name;
  for (const auto& task : run.tasks) {
    if (name.empty() || out.empty()) out.push_back({name.empty() ? task.name : name, {}, {}, {}});
    out.back().tasks.push_back(task);
  }
  const auto rows = [&](const Target& target, data::Split split, std::int64_t limit) {
    return labelled_rows(target.tasks, split, limit, run.options.join, *run.loaded.text.tokenizer, progress);
  };
  for (auto& target : out) {
    library::check_expert_name(target.name);
    target.train = rows(target, data::Split::train, run.limit);
    target.validation = rows(target, data::Split::validation, run.validation_limit);
  }
  return out;
}

void keep(const TargetRun& run, const std::string& method, const Target& target, Learned& learned) {
  auto options = run.options;
  if (!learned.experts.empty()) options.kind.kinds = adapter::kinds_of(learned.experts[0].adapter);
  nlohmann::json training{{"method", method}, {"options", training::to_json(options)}, {"settings", run.settings}};
  training["tasks"] = task_names(target);
  training.update(training::to_json(learned.result));
  if (learned.more.is_object()) training.update(learned.more);
  for (const auto& expert : learned.experts) {
    library::ExpertInfo info;
    info.name = expert.name;
    info.tasks = expert.tasks;
    info.base_fingerprint = run.loaded.model.fingerprint();
    info.training = training;
    run.library.save(info, expert.adapter, run.replace);
  }
  // After the experts, which it may be a router of.
  if (!learned.router) return;
  learned.router->training = training;
  routing::save_router(run.library, *learned.router);
}

/// How what was learned is applied.
std::string route_of(const std::string& method, const Target& target, const Learned& learned) {
  if (!learned.router) return "expert:" + target.name;
  if (method != "moa") return method + ":" + target.name;
  return target.name == method ? method : "learned:" + target.name;
}

void report(const TargetRun& run, const std::string& method, const Target& target, const Learned& learned) {
  const auto& r = learned.result;
  if (run.json) {
    auto out = training::to_json(r);
    out[learned.router ? "router" : "expert"] = target.name;
    out["method"] = method;
    if (learned.more.is_object()) out.update(learned.more);
    return print_json(out);
  }
  std::printf("%-32s %5lld steps  train %.3f  validation %.3f (%.3f before)   apply with --route %s\n%s",
              target.name.c_str(), static_cast<long long>(r.steps), r.train_loss, r.validation_loss, r.first_validation,
              route_of(method, target, learned).c_str(), learned.table.c_str());
  std::fflush(stdout);
}

void refuse_taken(const TargetRun& run, const Target& target) {
  const bool router = routing::has_router(run.library, target.name), expert = run.library.contains(target.name);
  QUIVER_CHECK(run.replace || (!router && !expert), usage, (router ? "router " : "expert ") + target.name,
               "the library has one of that name; choose another --name, or --replace it");
}

}  // namespace

std::vector<std::string> task_names(const Target& target) {
  std::vector<std::string> out;
  for (const auto& task : target.tasks) out.push_back(task.name);
  return out;
}

std::vector<std::string> target_methods() {
  std::vector<std::string> out;
  for (const auto& method : kMethods) out.emplace_back(method.name);
  return out;
}

std::string target_settings() {
  std::vector<std::string> out;
  for (const auto& method : kMethods) {
    if (*method.settings) out.push_back(fmt::format("{}: {}", method.name, method.settings));
  }
  return join(out, "; ");
}

adapter::Bank sources_of(const TargetRun& run, const routing::RouteSpec& settings) {
  const auto names = split(settings.find("sources").value_or(""), ',');
  QUIVER_CHECK(!names.empty() && !names[0].empty(), usage, "--set sources", "missing: experts of the library, a,b,c");
  adapter::Bank bank(run.loaded.model);
  for (const auto& name : names) bank.add(name, run.library.load(name));
  return bank;
}

void train_targets(const std::string& method, const TargetRun& run, Progress& progress) {
  const auto found = std::find_if(kMethods.begin(), kMethods.end(), [&](const auto& m) { return method == m.name; });
  QUIVER_CHECK(found != kMethods.end(), usage, "--method", "'{}', expected {}", method, join(target_methods(), ", "));
  const auto settings = spec_of(*found, run.settings);
  const auto targets = targets_of(run, *found, progress);
  for (const auto& target : targets) refuse_taken(run, target);
  for (const auto& target : targets) {
    auto learned = found->learn(run, settings, target, progress);
    keep(run, method, target, learned);
    report(run, method, target, learned);
  }
}

}  // namespace quiver::cli
