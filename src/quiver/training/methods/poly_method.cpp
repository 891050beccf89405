// SPDX-License-Identifier: Apache-2.0
// --method poly: skills that all tasks share, kept as a router that --route poly:NAME applies.
#include "quiver/adapter/describe_options.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/library/collection.h"
#include "quiver/training/methods/library_method.h"
#include "quiver/training/methods/skill_training.h"
#include "quiver/training/methods/table.h"
#include "quiver/training/task_sampling.h"

namespace quiver::training {
namespace {

std::vector<std::string> reads(const MethodOptions&) {
  auto out = common_options();
  for (const auto& some : {library_options(), options_of_groups({"skills", "tasks"})})
    out.insert(out.end(), some.begin(), some.end());
  out.insert(out.end(), {"rank", "alpha", "rslora", "dropout", "targets", "init"});
  return out;
}

/// The learning rate that is given for training as a whole is that of the skills.
void settle(MethodOptions& options, const OptionSet& given) {
  adapter::settle(options.train.lora, given);
  if (!given.given("learning_rate")) return;
  QUIVER_CHECK(!given.given("skill_learning_rate"), usage, "--learning-rate",
               "it is the skills' rate, as --skill-learning-rate; give one of the two");
  options.skill_training.skill_learning_rate = options.train.learning_rate;
}

std::vector<std::int64_t> labels_of(const std::vector<RoutedRow>& rows) {
  std::vector<std::int64_t> out;
  for (const auto& row : rows) out.push_back(row.label);
  return out;
}

/// As many rows as there are, by the tasks' shares.
std::vector<RoutedRow> sampled(const std::vector<RoutedRow>& rows, double temperature, std::uint64_t seed) {
  std::vector<RoutedRow> out;
  for (const auto i : sample_rows(labels_of(rows), temperature, rows.size(), derive_seed(seed, 3)))
    out.push_back(rows[i]);
  return out;
}

void weigh_tasks_alike(std::vector<RoutedRow>& rows) {
  std::vector<data::TokenRow> tokens;
  for (const auto& row : rows) tokens.push_back(row.row);
  const auto weights = equal_task_weights(tokens, labels_of(rows));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].row.weight *= weights[i];
}

class Poly : public LibraryMethod {
 public:
  Poly() : LibraryMethod("poly", reads) {}

 protected:
  bool makes_router() const override { return true; }
  std::vector<std::string> expert_names(const MethodInputs& inputs, const Assignment& assignment) const override {
    std::vector<std::string> out;
    if (!inputs.options.fold) return out;
    for (const auto& task : assignment.tasks) out.push_back(assignment.name + "." + library::fit_name(task.name));
    return out;
  }

  Taught learn(const MethodInputs& inputs, const Assignment& assignment, const RoutedTraining& training) override {
    const auto& o = inputs.options;
    auto set = routing::make_skills(inputs.model, o.train.lora, o.skills, task_names(assignment),
                                    derive_seed(o.train.seed, 1));
    auto train = labelled_rows(assignment.tasks, data::Split::train);
    if (o.task_temperature != 1.0) train = sampled(train, o.task_temperature, o.train.seed);
    if (o.equal_tasks) weigh_tasks_alike(train);
    Taught out;
    out.figures =
        train_skills(training, set, o.skill_training, train, labelled_rows(assignment.tasks, data::Split::validation));
    out.router = routing::to_saved_router(set, assignment.name, nullptr);
    const auto experts = expert_names(inputs, assignment);
    for (std::size_t t = 0; t < experts.size(); ++t)
      out.experts.push_back({experts[t], {set.tasks[t]}, routing::fold(set, set.tasks[t])});
    out.more = {{"kind", "poly"},
                {"tasks", set.tasks.size()},
                {"skills", set.options.skills},
                {"splits", set.options.splits},
                {"parameters", set.factors.numel() + set.logits.numel()}};
    return out;
  }
};

}  // namespace

MethodEntry poly_method() {
  return {.name = "poly",
          .summary = "skills that all tasks share (Poly, and MHR with --splits)",
          .reads = reads,
          .settle = settle,
          .joint = true,
          .make = [] { return std::unique_ptr<Method>(std::make_unique<Poly>()); }};
}

}  // namespace quiver::training
