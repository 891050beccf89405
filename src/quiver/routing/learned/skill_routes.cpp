// SPDX-License-Identifier: Apache-2.0
// poly: each row under its task's composition of skills (skills.h).
#include <map>
#include <mutex>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
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

std::unique_ptr<Router> make_poly(const RouteSpec& spec, const RouterInputs& inputs) {
  spec.check_options({"name", "task"});
  QUIVER_CHECK(inputs.library, usage, "--route " + spec.text, "it needs skills kept in a library; give --library DIR");
  const auto name = spec.argument.empty() ? spec.find("name").value_or("poly") : spec.argument;
  auto set = read_skills(*inputs.library, name);
  const auto task = spec.find("task").value_or("");
  QUIVER_CHECK(task.empty() || task == kMean || set.task_number(task), usage, "--route " + spec.text,
               "router '{}' was not trained on task '{}'{}", name, task, suggestion(task, set.tasks));
  return std::make_unique<SkillRouter>(std::move(set), *inputs.bank, task);
}

}  // namespace

std::vector<RouteEntry> skill_routes() {
  return {
      {{"poly", ":NAME or :name=NAME,task=TASK|mean",
        "per row, its task's composition of trained skills (train --method poly); the skills' mean for other tasks"},
       make_poly}};
}

}  // namespace quiver::routing
