// SPDX-License-Identifier: Apache-2.0
// poly: each row under its task's composition of skills (skills.h).
#include <algorithm>
#include <map>
#include <mutex>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/routing/learned/learned_routes.h"
#include "quiver/routing/learned/skills.h"
#include "quiver/routing/route_entry.h"

namespace quiver::routing {
namespace {

constexpr const char* kMean = "mean";

class SkillRouter : public Router {
 public:
  /// forced: the task of every request, "mean" for none of them; empty: each request's own.
  SkillRouter(SkillSet set, const adapter::Bank& shape, std::string forced)
      : set_(std::move(set)), shape_(shape.empty_copy()), forced_(std::move(forced)) {}

  std::unique_ptr<Sessions> sessions() const override { return std::make_unique<SkillSessions>(*this); }
  bool reads_task() const override { return forced_.empty(); }

 private:
  /// The state of a request is the number of its task's expert.
  class SkillSessions : public StateSessions<std::int64_t> {
   public:
    explicit SkillSessions(const SkillRouter& router)
        : router_(router), bank_(std::make_shared<adapter::Bank>(router.shape_.empty_copy())) {}

   protected:
    std::vector<std::int64_t> start(const std::vector<Request>& requests) override {
      // Passes that are still under way keep the bank that they were bound to.
      auto bank = std::make_shared<adapter::Bank>(*bank_);
      auto numbers = numbers_;
      std::vector<std::int64_t> experts;
      for (const auto& request : requests) {
        const auto task = router_.key(request.task);
        const auto [place, fresh] = numbers.emplace(task, bank->size());
        if (fresh) bank->add(task.empty() ? kMean : task, router_.folded(task));
        experts.push_back(place->second);
      }
      bank_ = std::move(bank);
      numbers_ = std::move(numbers);
      return experts;
    }
    std::unique_ptr<model::ExpertSource> bind_states(const model::PackedBatch& batch, const States& states) override {
      std::vector<std::vector<ops::ExpertWeight>> pairs;
      for (const auto& state : states) pairs.push_back({{*state, 1.0f}});
      return bind_rows(bank_, batch, pairs);
    }

   private:
    const SkillRouter& router_;
    std::shared_ptr<const adapter::Bank> bank_;
    std::map<std::string, std::int64_t> numbers_;  ///< by task
  };

  /// The task that a request is served as; "" where the mean of the skills is.
  std::string key(const std::string& task) const {
    const auto& asked = forced_.empty() ? task : forced_;
    return set_.task_number(asked) ? asked : "";
  }

  adapter::Adapter folded(const std::string& task) const {
    const std::lock_guard lock(mutex_);
    auto found = cache_.find(task);
    if (found == cache_.end()) found = cache_.emplace(task, fold(set_, task)).first;
    return found->second;
  }

  SkillSet set_;
  adapter::Bank shape_;
  std::string forced_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, adapter::Adapter> cache_;
};

struct PolyOptions {
  std::string task;
};
void describe(PolyOptions& o, OptionSet& set) {
  set.text("task", o.task, "the task that every row is served as; mean: the skills' mean").shown_default("each row's");
}

/// The route `poly` may also name its router by an option.
struct NamedPoly {
  std::string name = "poly";
  PolyOptions options;
};
void describe(NamedPoly& o, OptionSet& set) {
  set.text("name", o.name, "of the router");
  describe(o.options, set);
}

std::unique_ptr<Router> router_of_set(SkillSet set, const PolyOptions& o, const std::string& name,
                                      const RouteSpec& spec, const RouterInputs& inputs) {
  QUIVER_CHECK(o.task.empty() || o.task == kMean || set.task_number(o.task), usage, spec.where(),
               "router '{}' was not trained on task '{}'{}", name, o.task, suggestion(o.task, set.tasks));
  return std::make_unique<SkillRouter>(std::move(set), *inputs.bank, o.task);
}

NamedPoly options_of(const RouteSpec& spec) {
  auto out = read_options(spec, NamedPoly{});
  if (spec.argument.empty()) return out;
  const bool named =
      std::any_of(spec.options.begin(), spec.options.end(), [](const auto& o) { return o.first == "name"; });
  QUIVER_CHECK(!named, usage, spec.where(), "the router is named twice");
  out.name = spec.argument;
  return out;
}

RouteEntry poly_route() {
  RouteEntry entry{
      "poly",
      "NAME",
      "per row, its task's composition of trained skills (train --method poly); the skills' mean for other "
      "tasks",
      nullptr,
      nullptr,
      nullptr};
  entry.describe = [](const auto& show) {
    NamedPoly options;
    OptionSet set;
    describe(options, set);
    show(set);
  };
  entry.check = [](const RouteSpec& spec) { options_of(spec); };
  entry.router = [](const RouteSpec& spec) { return options_of(spec).name; };
  entry.make = [](const RouteSpec& spec, const RouterInputs& inputs) {
    const auto options = options_of(spec);
    QUIVER_CHECK(inputs.library, usage, spec.where(), "it needs skills kept in a library; give --library DIR");
    return router_of_set(read_skills(*inputs.library, options.name), options.options, options.name, spec, inputs);
  };
  return entry;
}

}  // namespace

std::unique_ptr<Router> router_of_skills(const SavedRouter& saved, const RouteSpec& spec, const RouterInputs& inputs) {
  return router_of_set(skills_of(saved), read_options(spec, PolyOptions{}), saved.name, spec, inputs);
}

std::vector<RouteEntry> skill_routes() { return {poly_route()}; }

}  // namespace quiver::routing
