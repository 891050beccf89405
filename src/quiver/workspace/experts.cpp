// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/experts.h"

#include <algorithm>
#include <set>

#include "quiver/adapter/finite.h"
#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/library/collection.h"
#include "quiver/library/listing.h"
#include "quiver/routing/request/signature.h"
#include "quiver/routing/router_table.h"

namespace quiver::workspace {

namespace {

/// An expert of which no tasks are known may be named after its task.
std::vector<std::string> tasks_of(const library::ExpertInfo& info) {
  return info.tasks.empty() ? std::vector{info.name} : info.tasks;
}

/// Names of the library's experts are listed first and loaded later: of all, one that is taken away meanwhile is left
/// out; of those asked for, it is an error.
void load_library(const ExpertOptions& o, ExpertSet& set, Progress& progress) {
  const bool all = o.experts.empty();
  const auto names = all ? set.library->names() : o.experts;
  constexpr std::size_t kTogether = 64;
  for (std::size_t begin = 0; begin < names.size(); begin += kTogether) {
    progress.update("load experts", begin, names.size(), names[begin]);
    const std::vector<std::string> some(
        names.begin() + static_cast<std::ptrdiff_t>(begin),
        names.begin() + static_cast<std::ptrdiff_t>(std::min(begin + kTogether, names.size())));
    for (const auto& expert : all ? set.library->load_present(some) : set.library->load_experts(some)) {
      set.bank->add(expert.info.name, expert.adapter);
      set.inputs.expert_tasks.push_back(tasks_of(expert.info));
      set.inputs.identities.push_back(expert.info.identity);
      set.training.push_back(expert.info.training);
    }
  }
  progress.finish();
}

/// An --adapter: a folder, or NAME=DIR where that is no folder itself.
struct NamedFolder {
  std::string name;
  fs::path folder;
};

NamedFolder named_folder(const std::string& given) {
  const auto equals = given.find('=');
  if (equals != std::string::npos && equals > 0 && !fs::exists(given)) {
    const auto name = given.substr(0, equals);
    library::check_expert_name(name);
    return {name, given.substr(equals + 1)};
  }
  const auto path = fs::weakly_canonical(given);
  return {path.has_filename() ? path.filename().string() : "adapter", given};
}

void load_adapter(const std::string& given, ExpertSet& set) {
  const auto [name, folder] = named_folder(given);
  const auto& known = set.names();
  QUIVER_CHECK(std::find(known.begin(), known.end(), name) == known.end(), usage, "--adapter " + given,
               "there is an expert '{}' already; give this one another name: --adapter NAME={}", name, folder.string());
  // With what an expert.json beside it says, as the experts of a library.
  const auto found = library::read_found_expert({name, folder}, {});
  const auto bad = adapter::not_finite(found.adapter);
  QUIVER_CHECK(bad.empty(), format, "--adapter " + given,
               "{} holds NaN or infinity, so that no result of it is a number", bad);
  set.bank->add(name, found.adapter);
  set.inputs.expert_tasks.push_back(tasks_of(found.info));
  set.training.push_back(found.info.training);
}

}  // namespace

void refuse_twice(const std::vector<std::string>& names, const std::string& option) {
  std::set<std::string> seen;
  for (const auto& name : names) QUIVER_CHECK(seen.insert(name).second, usage, option, "'{}' is given twice", name);
}

ExpertSet load_experts(const ExpertOptions& o, const model::Model& model, Progress& progress) {
  ExpertSet set;
  set.bank = std::make_shared<adapter::Bank>(model);
  refuse_twice(o.experts, "--experts");
  QUIVER_CHECK(o.experts.empty() || !o.library.empty(), usage, "--experts", "give the --library that they are in");
  if (!o.library.empty()) {
    set.library = std::make_shared<const library::Library>(library::Library::open(o.library));
    library::check_base(*set.library, model.fingerprint(), o.allow_other_base);
    load_library(o, set, progress);
    if (const auto line = library::strays_line(*set.library); !line.empty() && o.experts.empty()) progress.say(line);
  }
  for (const auto& adapter : o.adapters) load_adapter(adapter, set);
  set.inputs.bank = set.bank;
  if (o.adapters.empty()) set.inputs.library = set.library;
  set.inputs.model = model;
  set.inputs.progress = &progress;
  return set;
}

ExpertSet load_experts(const ExpertOptions& o, const LoadedModel& loaded, Progress& progress) {
  auto set = load_experts(o, loaded.model, progress);
  set.inputs.tokenizer = loaded.text.tokenizer.get();
  return set;
}

std::unique_ptr<routing::Router> make_router(const std::string& route, const ExpertSet& experts) {
  auto router = routing::make_router(routing::parse_route(route), experts.inputs);
  if (experts.library && experts.inputs.progress && experts.library->unkept_to_tell())
    experts.inputs.progress->say(experts.library->folder().string() +
                                 " cannot be written: what was computed from its experts is used, and not kept");
  return router;
}

namespace {

/// auto, where every expert has a signature; empty where one has none, which is said where others have one.
std::string route_by_signatures(const ExpertSet& experts) {
  const auto missing = routing::experts_without_signature(experts.inputs);
  if (missing.empty()) return "auto";
  if (missing.size() == experts.names().size()) return "";
  std::vector<std::string> names;
  for (const auto e : missing) names.push_back(experts.names()[e]);
  constexpr std::size_t kShown = 8;
  const auto more = names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "";
  names.resize(std::min(kShown, names.size()));
  experts.inputs.progress->say(fmt::format(
      "the default route is arrow and not auto, for {} of {} experts have no signature: {}{}; 'quiver prepare --route "
      "auto' gives them one",
      missing.size(), experts.names().size(), join(names, ", "), more));
  return "";
}

}  // namespace

std::string natural_route(const ExpertOptions& o, const ExpertSet& experts) {
  if (experts.inputs.library && experts.bank->size() > 0) {
    if (const auto route = route_by_signatures(experts); !route.empty()) return route;
  }
  if (!o.library.empty() && experts.bank->size() > 0) return "arrow";
  if (experts.bank->size() == 1) return "expert:" + experts.names()[0];
  return experts.bank->size() > 1 ? "arrow" : "base";
}

namespace {

RoutedExperts routed(const RouteOptions& o, ExpertSet experts) {
  RoutedExperts out{std::move(experts), o.route, nullptr};
  if (out.route.empty()) out.route = natural_route(o.experts, out.experts);
  out.router = make_router(out.route, out.experts);
  QUIVER_CHECK(o.task.empty() || out.router->reads_task(), usage, "--task-name", "the route {} does not read it",
               out.route);
  return out;
}

}  // namespace

RoutedExperts load_routed(const RouteOptions& o, const model::Model& model, Progress& progress) {
  return routed(o, load_experts(o.experts, model, progress));
}

RoutedExperts load_routed(const RouteOptions& o, const LoadedModel& loaded, Progress& progress) {
  return routed(o, load_experts(o.experts, loaded, progress));
}

}  // namespace quiver::workspace
