// SPDX-License-Identifier: Apache-2.0
// poly: each row under its task's composition of skills (skills.h).
#include <map>
#include <mutex>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/routing/route_entry.h"
#include "quiver/routing/learned/skills.h"

namespace quiver::routing {
namespace {

constexpr const char* kMean = "mean";

class SkillRouter : public Router {
 public:
  /// forced: the task of every request, "mean" for none of them; empty: each request's own.
  SkillRouter(SkillSet set, const adapter::Bank& shape, std::string forced)
      : set_(std::move(set)), shape_(shape.empty_copy()), forced_(std::move(forced)) {}

  model::BindExperts start(const std::vector<Request>& requests) const override {
    auto bank = std::make_shared<adapter::Bank>(shape_.empty_copy());
    std::map<std::string, std::int64_t> number;
    std::vector<std::int64_t> experts;
    for (const auto& request : requests) {
      const auto task = key(request.task);
      const auto [place, fresh] = number.emplace(task, bank->size());
      if (fresh) bank->add(task.empty() ? kMean : task, folded(task));
      experts.push_back(place->second);
    }
    return [bank = std::shared_ptr<const adapter::Bank>(bank), experts](const model::PackedBatch& batch,
                                                                        const std::vector<std::size_t>& rows) {
      std::vector<std::vector<ops::ExpertWeight>> pairs;
      for (const auto row : rows) pairs.push_back({{experts.at(row), 1.0f}});
      return bind_rows(bank, batch, pairs);
    };
  }

 private:
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
