// SPDX-License-Identifier: Apache-2.0
// MoA against PEFT and scikit-learn (tools/goldens/moa_golden.py), and cases worked out by hand.
#include "quiver/routing/request/moa_router.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/routing/constant_router.h"
#include "quiver/routing/request/fit_moa.h"
#include "quiver/routing/request/saved_moa.h"
#include "quiver/routing/test_bank.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::routing {
namespace {

fs::path golden(const std::string& name) { return fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / name; }

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

/// Says `expert` whatever it is shown.
DomainClassifier always(std::int64_t expert, std::int64_t experts, std::int64_t width) {
  auto bias = at::zeros({experts}, at::kFloat);
  bias[expert] = 20.0;
  return {at::zeros({width}), at::zeros({width}) + 1.0, {at::zeros({experts, width})}, {bias}};
}

TEST(DomainClassifierOf, EqualsScikitLearn) {
  const auto file = tensor_io::open_safetensors(golden("moa/golden.safetensors"));
  const auto features = file->load("features");
  DomainClassifierOptions options;
  options.weight_decay = 0.01;
  options.steps = 4000;  // to its minimum, where both must agree; the default stops earlier
  const auto fitted = fit_domain_classifier(features, file->load("labels"), 3, options);
  EXPECT_LT(largest_difference(log_probabilities(fitted, features), file->load("log_probabilities")), 2e-3);
}

TEST(DomainClassifierOf, FeaturesThatNeverVarySayNothingAsInScikitLearn) {
  const auto file = tensor_io::open_safetensors(golden("moa/constant.safetensors"));
  const auto features = file->load("features"), queries = file->load("queries");
  DomainClassifierOptions options;
  options.weight_decay = 0.01;
  options.steps = 4000;
  const auto fitted = fit_domain_classifier(features, file->load("labels"), 3, options);
  EXPECT_LT(largest_difference(log_probabilities(fitted, features), file->load("log_probabilities")), 2e-3);
  // Rows whose constant features are others: prompts that end otherwise than those fitted.
  EXPECT_LT(largest_difference(log_probabilities(fitted, queries), file->load("query_log_probabilities")), 2e-3);
  // Nor does the rounding of a pass that the same states went through in other batches, also with a hidden layer.
  at::manual_seed(5);
  for (const int depth : {1, 2}) {
    options.depth = depth;
    options.steps = 400;
    auto noisy = features.clone();
    noisy.narrow(1, 4, 2).mul_(1.0 + at::randn({60, 2}) * 5e-8);
    const auto plain = fit_domain_classifier(features, file->load("labels"), 3, options);
    const auto rounded = fit_domain_classifier(noisy, file->load("labels"), 3, options);
    EXPECT_LT(largest_difference(log_probabilities(rounded, queries), log_probabilities(plain, queries)), 1e-4)
        << depth;
  }
}

TEST(DomainClassifierOf, AHiddenLayerLearnsWhatALineCannot) {
  // Exclusive or.
  const auto features = at::tensor({0.f, 0.f, 0.f, 1.f, 1.f, 0.f, 1.f, 1.f}).view({4, 2});
  const auto labels = at::tensor({0, 1, 1, 0}, at::kLong);
  DomainClassifierOptions options;
  options.weight_decay = 1e-4;
  const auto right = [&](int depth) {
    options.depth = depth;
    const auto fitted = fit_domain_classifier(features, labels, 2, options);
    return log_probabilities(fitted, features).argmax(1).eq(labels).sum().item<std::int64_t>();
  };
  EXPECT_LT(right(1), 4);
  EXPECT_EQ(right(2), 4);
}

class Moa : public WithBank {
 protected:
  Moa() {
    golden_ = tensor_io::open_safetensors(golden("moa/golden.safetensors"));
    bank_ = std::make_shared<adapter::Bank>(model_);
    for (const auto* name : {"a", "b"}) bank_->add(name, adapter::read_peft(golden("adapters") / name));
    for (int n = 0; n < 3; ++n) {
      const auto ids = golden_->load("prompt." + std::to_string(n));
      prompts_.emplace_back();
      for (std::int64_t i = 0; i < ids.numel(); ++i) prompts_.back().push_back(ids[i].item<std::int32_t>());
    }
  }

  at::Tensor logits(const Router& router) const {
    const c10::AutoGradMode no_gradient(false);
    std::vector<model::RowInput> rows;
    std::vector<Request> requests;
    for (const auto& p : prompts_) {
      rows.push_back({p, nullptr, true});
      requests.push_back({"", p});
    }
    const auto batch = model::pack(rows);
    const auto source = bind_once(router, batch, requests);
    return model_.logits(model_.forward(batch, source.get()));
  }
  at::Tensor under(std::int64_t expert) const { return logits(ConstantRouter(bank_, {{expert, 1.0f}})); }

  std::shared_ptr<const tensor_io::TensorSource> golden_;
  std::shared_ptr<adapter::Bank> bank_;
  std::vector<std::vector<std::int32_t>> prompts_;
};

TEST_F(Moa, StatesUnderTheRightExpertEqualPeft) {
  const std::vector<std::int64_t> experts{0, 1, 0};
  for (const auto pooling : {Pooling::last, Pooling::mean}) {
    const auto states = moa_features(model_, bank_, {MoaPlaces::layer, pooling, true}, prompts_, experts);
    ASSERT_EQ(states.size(), 2u);
    for (const auto& [layer, own] : states) {
      for (std::int64_t n = 0; n < 3; ++n) {
        const auto name = fmt::format("{}.{}.{}.{}", experts[static_cast<std::size_t>(n)] == 0 ? "a" : "b", layer,
                                      pooling == Pooling::last ? "last" : "mean", n);
        EXPECT_LT(largest_difference(own[n], golden_->load(name)), 2e-5) << name;
      }
    }
  }
  // q k v, o, gate up, down of each layer.
  EXPECT_EQ(moa_features(model_, bank_, {MoaPlaces::site, Pooling::last, true}, prompts_, experts).size(), 8u);
  EXPECT_EQ(moa_features(model_, bank_, {MoaPlaces::once, Pooling::last, true}, prompts_, experts).size(), 1u);
}

TEST_F(Moa, UnforcedStatesAreTheBaseModels) {
  const MoaShape shape{MoaPlaces::layer, Pooling::mean, false};
  const auto states = moa_features(model_, bank_, shape, prompts_, {0, 1, 0});
  auto none = std::make_shared<adapter::Bank>(model_);
  none->add("none", {});
  const auto base = moa_features(model_, none, {MoaPlaces::layer, Pooling::mean, true}, prompts_, {0, 0, 0});
  for (const auto& [layer, own] : states) EXPECT_LT(largest_difference(own, base.at(layer)), 1e-6) << layer;
}

TEST_F(Moa, AnUnanimousChoiceIsThatExpert) {
  for (const auto vote : {Vote::own, Vote::first, Vote::majority, Vote::sum}) {
    const MoaRouter router(bank_, model_, {}, {{0, always(1, 2, 32)}, {1, always(1, 2, 32)}}, {.vote = vote});
    EXPECT_LT(largest_difference(logits(router), under(1)), 1e-6);
  }
}

TEST_F(Moa, LayersMayDisagree) {
  const MoaRouter router(bank_, model_, {}, {{0, always(0, 2, 32)}, {1, always(1, 2, 32)}}, {.vote = Vote::own});
  auto mixed = adapter::read_peft(golden("adapters") / "a");
  const auto second = adapter::read_peft(golden("adapters") / "b");
  for (auto& [site, f] : mixed.sites) {
    if (site.find("layers.1.") != std::string::npos) f = second.sites.at(site);
  }
  auto bank = std::make_shared<adapter::Bank>(model_);
  bank->add("mixed", mixed);
  EXPECT_LT(largest_difference(logits(router), logits(ConstantRouter(bank, {{0, 1.0f}}))), 1e-6);
}

TEST_F(Moa, AnUnsureChoiceIsTheBase) {
  auto unsure = always(0, 2, 32);
  unsure.biases[0].zero_();
  for (const auto vote : {Vote::own, Vote::first, Vote::sum}) {
    const MoaRouter router(bank_, model_, {}, {{0, unsure}, {1, unsure}}, {.vote = vote, .abstain = 0.6});
    EXPECT_LT(largest_difference(logits(router), logits(ConstantRouter(bank_, {}))), 1e-6);
  }
}

TEST(MoaDecision, VotesAsWorkedOutByHand) {
  // Places 3, 5, 8 say 0 (0.6), 1 (0.9), 0 (0.6): the sum of logarithms is for 1, the count for 0.
  const auto values = at::tensor({0.6, 0.4, 0.1, 0.9, 0.6, 0.4}, at::kDouble).view({3, 2}).log();
  const std::vector<std::int64_t> places{3, 5, 8};
  const auto own = decision_of(places, values, {.vote = Vote::own});
  EXPECT_EQ(own.by_place, (std::map<std::int64_t, std::int64_t>{{3, 0}, {5, 1}, {8, 0}}));
  EXPECT_EQ(own.elsewhere, 1);  // 0.4 * 0.9 * 0.4 = 0.144 against 0.6 * 0.1 * 0.6 = 0.036
  EXPECT_EQ(decision_of(places, values, {.vote = Vote::first}).elsewhere, 0);
  EXPECT_EQ(decision_of(places, values, {.vote = Vote::majority}).elsewhere, 0);
  EXPECT_EQ(decision_of(places, values, {.vote = Vote::majority, .abstain = 0.7}).elsewhere, MoaRouter::kBase);
  EXPECT_EQ(decision_of(places, values, {.vote = Vote::sum}).elsewhere, 1);
  // Place by place: 0.6 is below 0.7, 0.9 is not.
  const auto careful = decision_of(places, values, {.vote = Vote::own, .abstain = 0.7});
  EXPECT_EQ(careful.by_place, (std::map<std::int64_t, std::int64_t>{{3, -1}, {5, 1}, {8, -1}}));
}

TEST_F(Moa, FittedOnDomainsThatDifferItTellsThemApart) {
  // Prompts of two ranges of ids.
  std::vector<PlaceStates> states;
  for (std::int64_t e = 0; e < 2; ++e) {
    std::vector<std::vector<std::int32_t>> prompts;
    for (std::int32_t n = 0; n < 10; ++n) prompts.push_back({static_cast<std::int32_t>(40 * e + 5 + n), 3 + n, 7});
    states.push_back(moa_features(model_, bank_, {MoaPlaces::layer, Pooling::mean}, prompts,
                                  std::vector<std::int64_t>(prompts.size(), e)));
  }
  SilentProgress progress;
  const auto fitted = fit_moa(states, {}, progress);
  EXPECT_EQ(fitted.rows, 20);
  EXPECT_EQ(fitted.by_place.size(), 2u);
  const MoaRouter router(bank_, model_, {MoaPlaces::layer, Pooling::mean}, fitted.classifiers, {.vote = Vote::sum});
  std::vector<Request> requests{{"", {7, 5, 7}}, {"", {47, 5, 7}}};
  const auto decisions = router.decide(requests);
  EXPECT_EQ(decisions[0].elsewhere, 0);
  EXPECT_EQ(decisions[1].elsewhere, 1);
  const auto bind = bind_requests(router, requests);
  // The choice is kept: what comes after the prompt is not looked at.
  const std::vector<std::int32_t> answer{47, 47};
  const auto batch = model::pack({{answer, nullptr, true}});
  EXPECT_LT(largest_difference(
                model_.forward(batch, bind(batch, {0}).get()),
                model_.forward(batch, bind_once(ConstantRouter(bank_, {{0, 1.0f}}), batch, {{"", answer}}).get())),
            1e-6);
}

/// Prompts of a domain's words in a frame; `ending` ends them.
std::vector<std::vector<std::int32_t>> domain_prompts(std::int32_t domain, std::int32_t first, std::int32_t count,
                                                      std::int32_t ending) {
  std::vector<std::vector<std::int32_t>> out;
  for (std::int32_t n = first; n < first + count; ++n)
    out.push_back({2, 30 * domain + n % 11, 30 * domain + (n * 7) % 13, 30 * domain + (n * 5) % 17, ending});
  return out;
}

TEST_F(Moa, ADomainAddedLaterIsFittedAsOneThatWasThere) {
  const auto folder = fs::temp_directory_path() / fmt::format("quiver-moa-later-{}", getpid());
  fs::remove_all(folder);
  RouterInputs inputs;
  auto three = std::make_shared<adapter::Bank>(model_);
  for (const auto* name : {"a", "b", "c"})
    three->add(name, adapter::read_peft(golden("adapters") / (name[0] == 'b' ? "b" : "a")));
  inputs.bank = three;
  inputs.identities = {"1111111111111111", "2222222222222222", "3333333333333333"};
  inputs.library =
      std::make_shared<const library::Library>(library::Library::open_or_create(folder, "tiny", model_.fingerprint()));
  for (const auto pooling : {Pooling::last, Pooling::mean, Pooling::first}) {
    const MoaShape shape{MoaPlaces::layer, pooling};
    const ExpertFiles files(inputs, moa_states_kind(shape));
    std::vector<PlaceStates> fresh, kept;
    for (std::int32_t e = 0; e < 3; ++e) {
      const auto prompts = domain_prompts(e, 0, 20, 7);
      fresh.push_back(moa_features(model_, three, shape, prompts, std::vector<std::int64_t>(20, e)));
      if (e < 2) write_moa_features(files, static_cast<std::size_t>(e), fresh.back(), "");
      kept.push_back(e < 2 ? *read_moa_features(files, static_cast<std::size_t>(e), "") : fresh.back());
    }
    SilentProgress progress;
    const auto together = fit_moa(fresh, {}, progress), later = fit_moa(kept, {}, progress);
    EXPECT_EQ(later.accuracy, together.accuracy);
    for (const auto& [place, classifier] : together.classifiers) {
      const auto& other = later.classifiers.at(place);
      EXPECT_TRUE(classifier.weights[0].equal(other.weights[0])) << place;
    }
    const MoaRouter router(three, model_, shape, later.classifiers, {.vote = Vote::sum});
    for (const std::int32_t ending : {7, 95}) {  // as those fitted, and otherwise
      std::int64_t right = 0;
      for (std::int32_t e = 0; e < 3; ++e) {
        std::vector<Request> requests;
        for (auto& prompt : domain_prompts(e, 40, 11, ending)) requests.push_back({"", prompt});
        for (const auto& decision : router.decide(requests)) right += decision.elsewhere == e;
      }
      // Of 33; chance is 11. The last token's state says less where prompts end alike than the mean of all.
      if (pooling == Pooling::mean) EXPECT_GE(right, 28) << ending;
      if (pooling == Pooling::last && ending == 7) EXPECT_GE(right, 22);
    }
  }
  fs::remove_all(folder);
}

TEST_F(Moa, SavedAndReadItIsTheSame) {
  const auto folder = fs::temp_directory_path() / fmt::format("quiver-moa-{}", getpid());
  fs::remove_all(folder);
  const auto library = library::Library::open_or_create(folder, "tiny", model_.fingerprint());
  library::ExpertInfo info;
  info.base_fingerprint = model_.fingerprint();
  for (const auto* name : {"a", "b"}) {
    info.name = name;
    library.save(info, adapter::read_peft(golden("adapters") / name), false);
  }
  const MoaShape shape{MoaPlaces::site, Pooling::mean};
  auto deep = always(1, 2, 32);
  deep.weights.insert(deep.weights.begin(), at::zeros({2, 32}));
  deep.biases.insert(deep.biases.begin(), at::zeros({2}));
  deep.weights[1] = at::zeros({2, 2});
  auto saved = save_moa("domains", {"a", "b"}, shape, {{0, always(0, 2, 32)}, {12, deep}});
  EXPECT_THROW(save_router(library, saved), Error) << "without identities";
  saved.identities = {library.info("a").identity, library.info("b").identity};
  save_router(library, saved);
  MoaShape read{};
  const auto classifiers = read_moa(read_router(library, "domains"), read);
  EXPECT_EQ(read.places, shape.places);
  EXPECT_EQ(read.pooling, shape.pooling);
  ASSERT_EQ(classifiers.size(), 2u);
  const auto any = at::ones({1, 32});
  EXPECT_EQ(log_probabilities(classifiers.at(12), any).argmax().item<std::int64_t>(), 1);
  EXPECT_EQ(log_probabilities(classifiers.at(0), any).argmax().item<std::int64_t>(), 0);

  RouterInputs inputs;
  inputs.bank = bank_;
  inputs.library = std::make_shared<const library::Library>(library);
  for (const auto* name : {"a", "b"}) inputs.identities.push_back(library.info(name).identity);
  const ExpertFiles files(inputs, moa_states_kind(shape));
  EXPECT_FALSE(read_moa_features(files, 0, "some"));
  const auto states = any / 3;
  write_moa_features(files, 0, {{4, states}}, "some");
  EXPECT_TRUE(read_moa_features(files, 0, "some")->at(4).equal(states)) << "exactly, as the states in use are";
  EXPECT_FALSE(read_moa_features(files, 0, "other"));
  EXPECT_FALSE(read_moa_features(ExpertFiles(inputs, moa_states_kind({MoaPlaces::layer, Pooling::mean})), 0, "some"));

  auto damaged = save_moa("domains", {"a", "b"}, shape, {{0, always(0, 2, 32)}});
  damaged.tensors.erase("0.mean");
  EXPECT_THROW(read_moa(damaged, read), Error);
  damaged = save_moa("domains", {"a", "b"}, shape, {{0, always(0, 2, 32)}});
  damaged.tensors["x.mean"] = any;
  EXPECT_THROW(read_moa(damaged, read), Error);
  damaged = save_moa("domains", {"a", "b"}, shape, {{0, always(0, 2, 32)}});
  damaged.tensors["0.0.bias"] = at::zeros({3});
  EXPECT_THROW(read_moa(damaged, read), Error);
  damaged = save_moa("domains", {"a", "b"}, shape, {{0, always(0, 2, 32)}});
  damaged.options["pooling"] = "median";
  EXPECT_THROW(read_moa(damaged, read), Error);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace quiver::routing
