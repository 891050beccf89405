// SPDX-License-Identifier: Apache-2.0
// --method adamix: copies of an adapter that become one; --method moa: experts with the classifiers that choose among
// them; --method fusion: experts of the library by an attention at each site.
#include <algorithm>

#include "quiver/adapter/describe_options.h"
#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/library/collection.h"
#include "quiver/routing/request/saved_moa.h"
#include "quiver/training/methods/adamix.h"
#include "quiver/training/methods/fusion_training.h"
#include "quiver/training/methods/library_method.h"
#include "quiver/training/methods/moa_training.h"
#include "quiver/training/methods/table.h"

namespace quiver::training {
namespace {

std::vector<std::string> fusion_reads(const MethodOptions&) {
  auto out = common_options();
  const auto more = library_options();
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

/// Methods of several adapters of one kind, each A of its own.
std::vector<std::string> adapters_read(const MethodOptions& options) {
  auto out = fusion_reads(options);
  const auto more = adapter::options_of(options.train.kind.kinds);
  out.insert(out.end(), more.begin(), more.end());
  out.push_back("kind");
  std::erase(out, "share_a");
  return out;
}

std::vector<std::string> moa_reads(const MethodOptions& options) {
  auto out = adapters_read(options);
  std::erase(out, "recompute");
  return out;
}

class AdaMixMethod : public LibraryMethod {
 public:
  AdaMixMethod() : LibraryMethod("adamix", adapters_read) {}

  void describe(OptionSet& set) override {
    using Share = AdaMixOptions::Share;
    set.integer("copies", how_.copies, at_least(1), "of the adapter")
        .choice("share", how_.share, {{"second", Share::second}, {"first", Share::first}, {"none", Share::none}},
                "the map that all copies share")
        .number("consistency", how_.consistency, at_least(0), "factor of the distance of two draws; 0: one pass alone");
  }

 protected:
  bool makes_router() const override { return false; }
  std::vector<std::string> expert_names(const MethodInputs&, const Assignment& assignment) const override {
    return {assignment.name};
  }

  Taught learn(const MethodInputs& inputs, const Assignment& assignment, const RoutedTraining& training) override {
    const auto& o = inputs.options.train;
    const auto start = [&](std::int64_t copy) {
      return adapter::make_adapter(inputs.model, o.lora, o.kind, derive_seed(o.seed, static_cast<std::uint64_t>(copy)));
    };
    Taught out;
    auto expert = train_adamix(training, how_, start, labelled_rows(assignment.tasks, data::Split::train),
                               labelled_rows(assignment.tasks, data::Split::validation), out.figures);
    out.experts.push_back({assignment.name, task_names(assignment), std::move(expert)});
    return out;
  }

 private:
  AdaMixOptions how_;
};

class MoaMethod : public LibraryMethod {
 public:
  MoaMethod() : LibraryMethod("moa", moa_reads) {}

  void describe(OptionSet& set) override {
    using routing::MoaPlaces;
    using routing::Pooling;
    set.number("eta", how_.eta, at_least(0), "factor of the classifiers' loss")
        .number("rate", how_.classifier_learning_rate, above(0), "learning rate of the classifiers")
        .choice("places", how_.shape.places, {{"layer", MoaPlaces::layer}, {"site", MoaPlaces::site}},
                "a classifier per layer or site")
        .choice("pooling", how_.shape.pooling,
                {{"last", Pooling::last}, {"mean", Pooling::mean}, {"first", Pooling::first}},
                "of the prompt's states");
  }

 protected:
  bool makes_router() const override { return true; }
  /// In the order of their names, as a library's bank has them.
  std::vector<std::string> expert_names(const MethodInputs&, const Assignment& assignment) const override {
    std::vector<std::string> out;
    for (const auto& task : assignment.tasks) out.push_back(library::fit_name(task.name));
    std::sort(out.begin(), out.end());
    return out;
  }
  std::string route_of(const Assignment& assignment) const override {
    return assignment.name == name_ ? name_ : "learned:" + assignment.name;
  }

  Taught learn(const MethodInputs& inputs, const Assignment& assignment, const RoutedTraining& training) override {
    const auto& o = inputs.options.train;
    const auto names = expert_names(inputs, assignment);
    std::vector<std::vector<std::string>> tasks(names.size());
    std::vector<std::int64_t> expert_of_task;
    for (const auto& task : assignment.tasks) {
      const auto found = std::find(names.begin(), names.end(), library::fit_name(task.name)) - names.begin();
      tasks[static_cast<std::size_t>(found)].push_back(task.name);
      expert_of_task.push_back(found);
    }
    std::vector<adapter::Adapter> experts;
    for (std::size_t e = 0; e < names.size(); ++e)
      experts.push_back(adapter::make_adapter(inputs.model, o.lora, o.kind, derive_seed(o.seed, e)));
    const auto rows = [&](data::Split split) {
      auto out = labelled_rows(assignment.tasks, split);
      for (auto& row : out) row.label = expert_of_task[static_cast<std::size_t>(row.label)];
      return out;
    };
    Taught out;
    routing::Classifiers classifiers;
    out.figures =
        train_moa(training, experts, classifiers, how_, rows(data::Split::train), rows(data::Split::validation));
    out.router = routing::save_moa(assignment.name, names, how_.shape, classifiers);
    for (std::size_t e = 0; e < names.size(); ++e) {
      out.router->identities.push_back(adapter::identity(experts[e]));
      out.experts.push_back({names[e], tasks[e], std::move(experts[e])});
    }
    return out;
  }

 private:
  MoaTraining how_;
};

class FusionMethod : public LibraryMethod {
 public:
  FusionMethod() : LibraryMethod("fusion", fusion_reads) {}

  void describe(OptionSet& set) override {
    set.texts("sources", sources_, "experts of the library")
        .number("temperature", how_.temperature, at_least(1e-6), "of the attention")
        .number("regularisation", how_.regularisation, at_least(0), "factor of the values' distance from the identity");
  }
  std::vector<std::string> sources() const override { return sources_; }

 protected:
  bool makes_router() const override { return true; }
  std::vector<std::string> expert_names(const MethodInputs&, const Assignment&) const override { return {}; }

  Taught learn(const MethodInputs& inputs, const Assignment& assignment, const RoutedTraining& training) override {
    std::vector<std::string> identities;
    const auto bank = std::make_shared<const adapter::Bank>(sources_of(inputs, sources_, &identities));
    auto fusion = start_fusion(inputs.model, *bank, how_, inputs.options.train.seed);
    Taught out;
    out.figures = train_fusion(training, bank, fusion, how_, labelled_rows(assignment.tasks, data::Split::train),
                               labelled_rows(assignment.tasks, data::Split::validation));
    out.router = routing::save_fusion(assignment.name, inputs.model, *bank, fusion);
    out.router->identities = std::move(identities);
    return out;
  }

 private:
  FusionTraining how_;
  std::vector<std::string> sources_;
};

void settle_adapters(MethodOptions& options, const OptionSet& given) { adapter::settle(options.train.lora, given); }

}  // namespace

MethodEntry adamix_method() {
  return {.name = "adamix",
          .summary = "AdaMix: copies of an adapter that become one",
          .reads = adapters_read,
          .settle = settle_adapters,
          .make = [] { return std::unique_ptr<Method>(std::make_unique<AdaMixMethod>()); }};
}

MethodEntry moa_method() {
  return {.name = "moa",
          .summary = "MoA: experts together with a router among them",
          .reads = moa_reads,
          .settle = settle_adapters,
          .joint = true,
          .make = [] { return std::unique_ptr<Method>(std::make_unique<MoaMethod>()); }};
}

MethodEntry fusion_method() {
  return {.name = "fusion",
          .summary = "AdapterFusion: experts by an attention at each site",
          .reads = fusion_reads,
          .make = [] { return std::unique_ptr<Method>(std::make_unique<FusionMethod>()); }};
}

}  // namespace quiver::training
