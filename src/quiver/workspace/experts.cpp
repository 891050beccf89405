// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/experts.h"

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/routing/request/signature.h"
#include "quiver/routing/router_table.h"

namespace quiver::workspace {

ExpertSet load_experts(const ExpertOptions& o, const model::Model& model, Progress& progress) {
  ExpertSet set;
  set.bank = std::make_shared<adapter::Bank>(model);
  if (!o.library.empty()) {
    set.library = std::make_shared<const library::Library>(library::Library::open(o.library));
    library::check_base(*set.library, model.fingerprint(), o.allow_other_base);
    const auto names = o.experts.empty() ? set.library->names() : o.experts;
    constexpr std::size_t kTogether = 64;
    for (std::size_t begin = 0; begin < names.size(); begin += kTogether) {
      progress.update("load experts", begin, names.size(), names[begin]);
      const std::vector<std::string> some(
          names.begin() + static_cast<std::ptrdiff_t>(begin),
          names.begin() + static_cast<std::ptrdiff_t>(std::min(begin + kTogether, names.size())));
      for (const auto& expert : set.library->load_experts(some)) {
        set.bank->add(expert.info.name, expert.adapter);
        set.inputs.expert_tasks.push_back(expert.info.tasks);
        set.inputs.identities.push_back(expert.info.identity);
      }
    }
    progress.finish();
  }
  for (const auto& folder : o.adapters) {
    const auto name =
        fs::path(folder).filename().empty() ? fs::path(folder).parent_path().filename() : fs::path(folder).filename();
    set.bank->add(name.string(), adapter::read_peft(folder));
    set.inputs.expert_tasks.emplace_back();
  }
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
  return routing::make_router(routing::parse_route(route), experts.inputs);
}

std::string natural_route(const ExpertOptions& o, const ExpertSet& experts) {
  const bool whole = experts.inputs.library && experts.bank->size() > 0;
  if (whole && routing::have_signatures(experts.inputs)) return "auto";
  if (!o.library.empty() && experts.bank->size() > 0) return "arrow";
  if (experts.bank->size() == 1) return "expert:" + experts.names()[0];
  return experts.bank->size() > 1 ? "arrow" : "base";
}

namespace {

RoutedExperts routed(const RouteOptions& o, ExpertSet experts) {
  RoutedExperts out{std::move(experts), o.route, nullptr};
  if (out.route.empty()) out.route = natural_route(o.experts, out.experts);
  out.router = make_router(out.route, out.experts);
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
