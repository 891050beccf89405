// SPDX-License-Identifier: Apache-2.0
// Every kind of expert with everything that applies or takes in experts: each pair gives what a plain reference gives,
// or is refused in words. What is in a table is in here: kinds, routes, merges, regimes of adaptation.
//
// The reference: a library of four copies of one expert, under any mixture whose weights reach 1 together, is that
// expert alone, which the golden tests tie to PEFT.
#include <ATen/TensorOperators.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn_like.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <iostream>
#include <optional>

#include "quiver/adapter/bank.h"
#include "quiver/adapter/describe_options.h"
#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/clustering/difference.h"
#include "quiver/clustering/mbc.h"
#include "quiver/library/collection.h"
#include "quiver/library/mttl_library.h"
#include "quiver/merging/fold_base.h"
#include "quiver/merging/merge.h"
#include "quiver/model/answer_pass.h"
#include "quiver/model/load.h"
#include "quiver/model/test_small_model.h"
#include "quiver/routing/constant_router.h"
#include "quiver/routing/learned/fusion.h"
#include "quiver/routing/learned/skills.h"
#include "quiver/routing/prompts/attempt.h"
#include "quiver/routing/prompts/saved_pemt.h"
#include "quiver/routing/router_table.h"
#include "quiver/serving/generate.h"
#include "quiver/tensor_io/test_golden.h"
#include "quiver/training/adaptation/adaptation.h"
#include "quiver/training/adaptation/adaptation_tune.h"
#include "quiver/training/methods/fusion_training.h"
#include "quiver/training/methods/pemt_training.h"
#include "quiver/training/methods/prompt_training.h"
#include "quiver/workspace/prepare_routes.h"
#include "quiver/workspace/task_rows.h"

namespace quiver {
namespace {

using Kinds = std::set<std::string>;
using adapter::Trait;

constexpr int kCopies = 4;  // product keys want a square
const std::vector<std::string> kNames{"copy0", "copy1", "copy2", "copy3"};
const Ids kAnswer{17, 5, 70, 3};

/// Every kind, and lora with every other that it goes with.
std::vector<Kinds> subjects() {
  std::vector<Kinds> out;
  for (const auto& kind : adapter::kind_help()) out.push_back({kind.name});
  const auto model = model::load_model(golden("llama_untied"), at::kFloat);
  for (const auto& kind : adapter::kind_help()) {
    adapter::KindOptions options;
    options.kinds = {"lora", kind.name};
    try {
      if (options.kinds.size() == 2) adapter::make_adapter(model, {}, options, 1);
    } catch (const Error&) {
      continue;  // both want the same place
    }
    if (options.kinds.size() == 2) out.push_back(options.kinds);
  }
  return out;
}

class Crossing : public testing::TestWithParam<Kinds> {
 protected:
  static void SetUpTestSuite() {
    folder_ = fs::temp_directory_path() / fmt::format("quiver_crossing_{}", getpid());
    fs::remove_all(folder_);
    model::write_small_model(folder_ / "model");
    fs::create_directories(folder_ / "tasks");
    for (const auto& name : kNames) model::write_small_task(folder_ / "tasks" / (name + ".jsonl"), name, 3);
  }
  static void TearDownTestSuite() {
    fs::remove_all(folder_);
    std::cout << "crossings: " << equal_ + refused_ << " pairs, " << equal_ << " as the reference, " << refused_
              << " refused in words\n";
    RecordProperty("pairs", equal_ + refused_);
  }

  void SetUp() override {
    loaded_.emplace(workspace::load({(folder_ / "model").string(), "float32", "cpu", 1}));
    adapter::KindOptions options;
    options.kinds = GetParam();
    options.width = 8;
    options.prompt_tokens = 3;
    adapter::set_option(options, "products", "2");
    at::manual_seed(5);
    expert_ = adapter::make_adapter(model(), {.rank = 2, .alpha = 4.0}, options, 7);
    const c10::AutoGradMode no_gradient(false);
    adapter::for_each_tensor(expert_, [](at::Tensor& t) { t = t + 0.3 * at::randn_like(t); });
    fs::remove_all(folder_ / "library");
    library_.emplace(
        library::Library::open_or_create(folder_ / "library", (folder_ / "model").string(), model().fingerprint()));
    for (const auto& name : kNames) {
      library::ExpertInfo info;
      info.name = name;
      info.tasks = {name};
      info.base_fingerprint = model().fingerprint();
      library_->save(info, expert_, false);
    }
    set_ = experts({});
    prompt_ = loaded_->text.tokenizer->encode("copy0 1");
    alone_ = under({expert_});
    EXPECT_GT(distance(alone_, states({})), 1e-2) << "or nothing could be told";
  }

  const model::Model& model() const { return loaded_->model; }
  workspace::ExpertSet experts(const std::vector<std::string>& names) const {
    workspace::ExpertOptions options;
    options.library = (folder_ / "library").string();
    options.experts = names;
    return workspace::load_experts(options, *loaded_, progress_);
  }

  /// Logits of the answer's tokens.
  at::Tensor states(const model::BindExperts& bind) const {
    const c10::AutoGradMode no_gradient(false);
    return model().logits(model::answer_pass(model(), {{prompt_, kAnswer}}, bind).hidden);
  }
  at::Tensor states(const routing::Router& router) const {
    return states(routing::bind_requests(router, {{"copy0", prompt_}}));
  }
  at::Tensor under(const std::vector<adapter::Adapter>& one) const {
    auto bank = std::make_shared<adapter::Bank>(model());
    for (const auto& adapter : one) bank->add("expert", adapter);
    return states(routing::ConstantRouter(bank, {{0, 1.0f}}));
  }
  at::Tensor routed(const std::string& route) const { return states(*workspace::make_router(route, set_)); }

  /// A refusal in words: one line that names an expert or a kind.
  void check_words(const std::string& what, const std::string& words) const {
    EXPECT_EQ(words.find('\n'), std::string::npos) << what << ": " << words;
    const auto names = [&](const auto& name) { return words.find(name) != std::string::npos; };
    EXPECT_TRUE(std::any_of(kNames.begin(), kNames.end(), names) ||
                std::any_of(GetParam().begin(), GetParam().end(), names))
        << what << ": " << words;
  }
  /// `takes`: experts of these parts alone must not be refused.
  void cross(const std::string& what, adapter::Traits takes, const at::Tensor& expected,
             const std::function<at::Tensor()>& run) const {
    constexpr double kNear = 2e-3;  // `auto` leaves out weights below a thousandth
    try {
      const auto got = run();
      EXPECT_TRUE(got.isfinite().all().item<bool>()) << what;
      EXPECT_LT(distance(got, expected), kNear) << what;
      ++equal_;
    } catch (const Error& error) {
      check_words(what, error.what());
      EXPECT_FALSE(traits_of(expert_).without(takes).empty()) << what << " takes such experts: " << error.what();
      ++refused_;
    }
  }

  adapter::Traits traits() const { return set_.bank->traits(0); }
  bool only_factors() const { return traits_of(expert_) == adapter::Traits{Trait::low_rank}; }

  training::TrainOptions one_step() const {
    training::TrainOptions out;
    out.max_steps = 1;
    out.lora.rank = 2;
    out.join.append_eos = false;
    return out;
  }
  std::vector<data::Task> tasks() const {
    std::vector<data::Task> out;
    for (const auto& name : kNames) out.push_back(data::read_task(folder_ / "tasks" / (name + ".jsonl")));
    return out;
  }
  std::vector<data::TokenRow> rows() const {
    std::vector<data::TokenRow> out;
    SilentProgress silent;
    for (const auto& task : tasks())
      workspace::add_rows(task, data::Split::train, 1, one_step().join, *loaded_->text.tokenizer, silent, out);
    return out;
  }
  void prepare(const std::string& route) const {
    workspace::prepare_from_tasks(routing::parse_route(route),
                                  {*loaded_, set_, tasks(), one_step(), 3, "", progress_, false});
  }

  inline static fs::path folder_;
  inline static int equal_ = 0, refused_ = 0;
  mutable SilentProgress progress_;
  std::optional<workspace::LoadedModel> loaded_;
  std::optional<library::Library> library_;
  workspace::ExpertSet set_;
  adapter::Adapter expert_;
  Ids prompt_;
  at::Tensor alone_;
};

constexpr adapter::Traits kFactors{Trait::low_rank};
constexpr auto kOfRequests = adapter::kAtSites | adapter::Traits{Trait::norms, Trait::block_bottleneck};
constexpr auto kEveryPart = kOfRequests | adapter::Traits{Trait::vectors, Trait::keys_values, Trait::worked_out};

/// What a route takes of the parts of experts.
adapter::Traits taken_by(const std::string& route) {
  static const std::map<std::string, adapter::Traits> known{
      {"arrow", kFactors},   {"spectr", kFactors},     {"seqr", kFactors},        {"expert", kEveryPart},
      {"mix", kOfRequests},  {"uniform", kOfRequests}, {"lorauter", kOfRequests}, {"oracle", kOfRequests},
      {"auto", kOfRequests}, {"ariadne", kEveryPart},  {"text", kEveryPart}};
  const auto found = known.find(route);
  return found == known.end() ? adapter::kAtSites : found->second;
}

/// How a route is prepared, in few steps.
std::string prepared_as(const std::string& route) {
  static const std::map<std::string, std::string> more{
      {"phatgoose", "phatgoose:steps=2"},
      {"moa", "moa:steps=5"},
      {"weights", "weights:learning_rate=1e-9"},  // a mean of the copies at the start
  };
  const auto found = more.find(route);
  return found == more.end() ? route : found->second;
}

/// A route as it is asked for over the copies; nothing where another test is the one of it.
std::optional<std::string> spelt(const std::string& route) {
  static const std::map<std::string, std::string> more{
      {"expert", "expert:copy1"},
      {"mix", "mix:copy0=0.4,copy1=0.1,copy2=0.3,copy3=0.2"},
  };
  static const std::set<std::string> elsewhere{"base", "merge", "learned", "poly", "pemt", "attempt", "fusion"};
  if (elsewhere.contains(route)) return std::nullopt;
  const auto found = more.find(route);
  return found == more.end() ? route : found->second;
}

TEST_P(Crossing, Routes) {
  for (const auto& entry : routing::route_table()) {
    const auto route = spelt(entry.name);
    if (!route) continue;
    cross(*route, taken_by(entry.name), alone_, [&] {
      if (workspace::preparation_help(entry.name)) prepare(prepared_as(entry.name));
      return routed(*route);
    });
  }
  for (const auto* route : {"gates", "molora", "rkhs", "product-keys", "weights", "soup", "xlora"}) {
    ASSERT_NE(workspace::preparation_help(route), nullptr) << route;
    cross(std::string("prepare ") + route, adapter::kAtSites, alone_, [&] {
      prepare(prepared_as(route));
      return routed(route);
    });
  }
  for (const auto* more : {"arrow:search=groups", "arrow:top_k=1", "arrow:directions=all", "uniform:combine=factors",
                           "arrow:general=copy3,general_weight=0", "spectr:top_k=all", "lorauter:top_k=1"})
    cross(more, kFactors, alone_, [&] { return routed(more); });
}

TEST_P(Crossing, RoutesWithTheirOwnTraining) {
  const training::RoutedTraining how{model(), one_step(), progress_, "crossing"};
  const auto& bank = *set_.bank;
  // Gates that reach 1 together over copies, and a target that adds nothing: the expert with the target's prompt.
  const auto with_prompt = [&](const at::Tensor& prompt) {
    auto out = bank.expert(0);
    out.soft_prompt = prompt;
    return out;
  };
  {
    training::PemtTraining options;
    options.prompt_tokens = 3;
    options.width = 4;
    options.layer_norms = false;
    options.options.live = false;
    std::optional<routing::Pemt> pemt;
    cross("pemt", kFactors, alone_, [&] {
      pemt.emplace(training::start_pemt(model(), bank, options, 1));
      auto target = pemt->bank->expert(pemt->sources());
      for (auto& [site, extras] : target.extras) extras.bottleneck->up.zero_();
      const auto got = states(routing::bind_pemt(model(), *pemt, 1)), plain = under({with_prompt(pemt->prompt)});
      return alone_ + (got - plain);
    });
  }
  cross("attempt", {Trait::vectors}, alone_, [&] {
    const auto attempt = training::start_attempt(bank, {}, 1);
    const auto prompt = routing::attempt_prompt(attempt, model().embedding(), prompt_);
    EXPECT_LT(distance(prompt, bank.soft_prompt(0) * 2.0), 1e-4) << "its own and the mean of copies of it";
    return under({with_prompt(prompt / 2.0)});
  });
  cross("fusion", adapter::kAtSites.without({Trait::input_scale}), alone_,
        [&] { return states(routing::FusionRouter(set_.bank, training::start_fusion(model(), bank, {}, 1))); });
}

/// Copies of an expert and one expert alone, by every method; each as what the function says of factors.
TEST_P(Crossing, Merges) {
  std::vector<const adapter::Adapter*> all(kCopies, &expert_);
  for (const auto& method : merging::merge_table()) {
    const auto count = method.name == "slerp" ? 2 : kCopies;
    const merging::MergeInput input{{all.begin(), all.begin() + count}, {}, nullptr, kNames};
    std::optional<adapter::Adapter> merged;
    cross("merge " + method.name, kFactors, alone_, [&] {
      merged = merging::merge(method.name, input, {});
      EXPECT_TRUE(only_factors()) << method.name << " takes what is more than factors";
      return alone_ + 0.0 * under({*merged});  // finite; its value is the golden tests'
    });
    cross("merge " + method.name + " of one", kEveryPart, alone_, [&] {
      return under({merging::merge(method.name, {{&expert_}, {1.0}, nullptr, {kNames[0]}}, {})});
    });
    auto few = set_;
    if (count != kCopies) few = experts({kNames[0], kNames[1]});
    cross("route merge:" + method.name, kFactors, merged ? under({*merged}) : alone_, [&] {
      const auto got = states(*workspace::make_router("merge:" + method.name, few));
      EXPECT_EQ(traits(), adapter::Traits{Trait::low_rank}) << method.name;
      return merged ? got : alone_;
    });
  }
  for (const auto* exact :
       {"merge:cat", "merge:svd", "merge:task-arithmetic,lambda=0.25", "merge:uniform,combine=products"})
    cross(exact, kFactors, alone_, [&] { return routed(exact); });
}

TEST_P(Crossing, IntoTheBaseModel) {
  const auto output = folder_ / "folded";
  fs::remove_all(output);
  cross("--into-base", adapter::kFoldable.without({Trait::bias}), alone_, [&] {
    merging::fold_into_base(folder_ / "model", expert_, output, kNames[0]);
    const auto folded = model::load_model(output, at::kFloat);
    const c10::AutoGradMode no_gradient(false);
    return folded.logits(model::answer_pass(folded, {{prompt_, kAnswer}}, {}).hidden);
  });
}

TEST_P(Crossing, FilesOfOthers) {
  const auto there_and_back = [&](const std::string& format, adapter::Traits takes,
                                  const std::function<void(const fs::path&)>& write) {
    const auto folder = folder_ / ("export-" + format);
    fs::remove_all(folder);
    fs::create_directories(folder);
    cross("export " + format, takes, alone_, [&] {
      write(folder);
      const auto found = library::find_experts(folder, library::CollectionFormat::automatic);
      EXPECT_EQ(found.size(), 1u);
      return under({library::read_found_expert(found.at(0), std::nullopt).adapter});
    });
  };
  there_and_back("peft", kEveryPart, [&](const fs::path& folder) { adapter::write_peft(folder, expert_, "small"); });
  there_and_back("mttl", kFactors, [&](const fs::path& folder) {
    library::write_mttl_expert(folder, library_->info(kNames[0]), expert_, "small");
  });
}

/// Answers step by step, side by side and by beams, against whole passes.
TEST_P(Crossing, Decoding) {
  const c10::AutoGradMode no_gradient(false);
  const auto router = workspace::make_router("expert:copy2", set_);
  const Ids other = loaded_->text.tokenizer->encode("copy3 22 1");
  const auto whole = [&](const Ids& prompt) {
    Ids answer;
    for (int n = 0; n < 5; ++n) {
      auto longer = answer;
      longer.push_back(2);  // the last predicts nothing
      const auto pass =
          model::answer_pass(model(), {{prompt, longer}}, routing::bind_requests(*router, {{"", prompt}}));
      answer.push_back(model().logits(pass.hidden.narrow(0, n, 1)).argmax().item<std::int32_t>());
    }
    return answer;
  };
  serving::GenerateOptions options;
  options.max_new_tokens = 5;
  const std::vector<Ids> expected{whole(prompt_), whole(other)};
  const auto answers = [&](const std::vector<Ids>& prompts) {
    std::vector<routing::Request> requests;
    for (const auto& prompt : prompts) requests.push_back({"", prompt});
    return serving::generate(model(), requests, options, router.get());
  };
  EXPECT_EQ(answers({prompt_})[0].checked(), expected[0]);
  const auto both = answers({prompt_, other});
  for (std::size_t n = 0; n < 2; ++n) EXPECT_EQ(both[n].checked(), expected[n]);
  options.beams = 1;
  EXPECT_EQ(answers({prompt_})[0].checked(), expected[0]);
  options.beams = 3;
  const auto best = answers({prompt_})[0].beams.at(0);
  const auto pass =
      model::answer_pass(model(), {{prompt_, best.ids}}, routing::bind_requests(*router, {{"", prompt_}}));
  const auto log_p = model().logits(pass.hidden).log_softmax(1);
  double score = 0.0;
  for (std::size_t n = 0; n < best.ids.size(); ++n)
    score += log_p[static_cast<std::int64_t>(n)][best.ids[n]].item<double>();
  EXPECT_NEAR(best.score, score / static_cast<double>(best.ids.size()), 1e-3);
  equal_ += 4;
}

TEST_P(Crossing, Adaptation) {
  routing::SkillOptions shape;
  shape.skills = 2;
  const auto skills = routing::make_skills(model(), {.rank = 2}, shape, {"a", "b"}, 3);
  routing::save_router(*library_, routing::to_saved_router(skills, "poly", {}));
  const training::ExpertData examples{"new", {"new"}, rows(), {}};
  const training::AdaptInputs inputs{model(), std::make_shared<const library::Library>(*library_), set_.bank,
                                     progress_};
  training::AdaptOptions options;
  options.train = one_step();
  options.start = kNames[0];
  options.lorahub.evaluations = 3;
  const auto loss = training::loss_under(model(), expert_, examples.train);
  const std::set<std::string> from_copies{"shared",     "library-mean", "library-mean-retrieved", "nearest",
                                          "arrow-init", "selector",     "experts-and-selector"};
  const std::set<std::string> makes_one{"library-mean", "library-mean-retrieved", "arrow-init",
                                        "selector",     "experts-and-selector",   "lorahub"};
  for (const auto& regime : training::regime_table()) {
    cross("adapt " + regime.name, makes_one.contains(regime.name) ? kFactors : kEveryPart, alone_, [&] {
      const auto adapted = training::adapt(inputs, regime.name, examples, options);
      EXPECT_TRUE(std::isfinite(adapted.loss)) << regime.name;
      if (from_copies.contains(regime.name)) {
        EXPECT_NEAR(adapted.loss_before, loss, 1e-3) << regime.name;
      }
      return alone_;
    });
  }
}

TEST_P(Crossing, Comparison) {
  const std::vector<std::string> names(kNames.begin(), kNames.end());
  for (const auto* embedding : {"mttl", "products", "text"}) {
    clustering::MbcOptions options;
    options.embedding.kind = clustering::embedding_of_name(embedding);
    options.k_means.clusters = 2;
    const bool text = options.embedding.kind == clustering::Embedding::text;
    cross(std::string("cluster by ") + embedding, text ? kEveryPart : kFactors, alone_, [&] {
      const auto found = clustering::cluster_library(*library_, names, options);
      EXPECT_TRUE(text || only_factors()) << embedding;
      if (!text) {
        EXPECT_NEAR(found.similarity[0][1], 1.0, 1e-5) << embedding;
      }
      return alone_;
    });
  }
  cross("library diff", kFactors, alone_, [&] {
    for (const auto& d : clustering::differences(expert_, expert_, {kNames[0], kNames[1]})) {
      EXPECT_NEAR(d.cosine, 1.0, 1e-5);
    }
    EXPECT_TRUE(only_factors());
    return alone_;
  });
}

/// An encoder-decoder: whatever needs no data of a library's.
TEST_P(Crossing, BehindAnEncoder) {
  const c10::AutoGradMode no_gradient(false);
  const auto t5 = model::load_model(golden("t5/v11"), at::kFloat);
  adapter::KindOptions options;
  options.kinds = GetParam();
  options.width = 8;
  options.prompt_tokens = 3;
  adapter::set_option(options, "products", "2");
  auto expert = adapter::make_adapter(t5, {.rank = 2, .alpha = 4.0}, options, 7);
  adapter::for_each_tensor(expert, [](at::Tensor& t) { t = t + 0.3 * at::randn_like(t); });
  auto bank = std::make_shared<adapter::Bank>(t5);
  routing::RouterInputs inputs;
  for (const auto& name : kNames) {
    bank->add(name, expert);
    inputs.expert_tasks.push_back({name});
  }
  inputs.bank = bank;
  inputs.model = t5;
  inputs.progress = &progress_;
  const Ids prompt{5, 9, 20, 11};
  const auto hidden = [&](const model::BindExperts& bind) {
    return model::answer_pass(t5, {{prompt, kAnswer}}, bind).hidden;
  };
  const auto states = [&](const routing::Router& router) {
    return hidden(routing::bind_requests(router, {{"copy0", prompt}}));
  };
  const auto alone = states(routing::ConstantRouter(bank, {{0, 1.0f}}));
  EXPECT_GT(distance(alone, hidden({})), 1e-2) << "or nothing could be told";
  for (const auto& entry : routing::route_table()) {
    const auto route = spelt(entry.name);
    if (!route || workspace::preparation_help(entry.name)) continue;
    cross("t5 " + *route, taken_by(entry.name), alone,
          [&] { return states(*routing::make_router(routing::parse_route(*route), inputs)); });
  }
  for (const auto& method : merging::merge_table()) {
    cross("t5 merge " + method.name + " of one", kEveryPart, alone, [&] {
      auto merged = std::make_shared<adapter::Bank>(t5);
      merged->add("merged", merging::merge(method.name, {{&expert}, {1.0}, nullptr, {kNames[0]}}, {}));
      return states(routing::ConstantRouter(merged, {{0, 1.0f}}));
    });
  }
  cross("t5 --into-base", adapter::kFoldable.without({Trait::bias}), alone, [&] {
    const auto output = folder_ / "folded-t5";
    fs::remove_all(output);
    merging::fold_into_base(golden("t5/v11"), expert, output, kNames[0]);
    return model::answer_pass(model::load_model(output, at::kFloat), {{prompt, kAnswer}}, {}).hidden;
  });
}

/// Query, key and value are one product of one input, of which an expert may scale what the query reads.
TEST(InputScales, OfOneOfSeveralMapsThatShareTheirInputAreApplied) {
  const c10::AutoGradMode no_gradient(false);
  const auto output = fs::temp_directory_path() / fmt::format("quiver_input_scales_{}", getpid());
  for (const auto* name : {"llama_untied", "t5/v11"}) {
    const auto model = model::load_model(golden(name), at::kFloat);
    at::manual_seed(4);
    auto expert = adapter::make_lora(model, {.rank = 2}, 1);
    for (auto& [site, f] : expert.sites) f.b = at::randn_like(f.b) * 0.3;
    for (const auto& site : model.sites()) {
      if (site.role == model::Role::query || site.role == model::Role::up)
        expert.extras[site.name].input_scale = at::rand({site.in}) + 0.5;
    }
    auto bank = std::make_shared<adapter::Bank>(model);
    bank->add("scaled", expert);
    const routing::ConstantRouter router(bank, {{0, 1.0f}});
    const Ids prompt{5, 9, 20, 11};
    const auto applied =
        model::answer_pass(model, {{prompt, kAnswer}}, routing::bind_requests(router, {{"", prompt}})).hidden;
    fs::remove_all(output);
    merging::fold_into_base(golden(name), expert, output, "scaled");
    const auto folded = model::answer_pass(model::load_model(output, at::kFloat), {{prompt, kAnswer}}, {}).hidden;
    EXPECT_LT(distance(applied, folded), 2e-5) << name;
    EXPECT_GT(distance(applied, model::answer_pass(model, {{prompt, kAnswer}}, {}).hidden), 1e-2) << name;
  }
  fs::remove_all(output);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Crossing, testing::ValuesIn(subjects()), [](const auto& p) {
  std::string out;
  for (const auto& kind : p.param) out += (out.empty() ? "" : "_") + kind;
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
});

}  // namespace
}  // namespace quiver
