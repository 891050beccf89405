// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/learned/skills.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "quiver/base/error.h"
#include "quiver/model/load.h"
#include "quiver/routing/router_table.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::routing {

namespace {

const fs::path kGolden = fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden";

/// Largest difference as a share of the expected values' spread.
double distance(const at::Tensor& got, const at::Tensor& expected) {
  EXPECT_EQ(got.sizes(), expected.sizes());
  const auto spread = (expected.max() - expected.min()).clamp_min(1e-12).item<double>();
  return (got.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>() / spread;
}

/// One site of in 4 and out 6 without a model, its numbers random.
SkillSet small_set(const SkillOptions& options, std::int64_t tasks, at::ScalarType dtype = at::kFloat) {
  SkillSet set;
  set.options = options;
  set.lora.rank = 3;
  set.lora.alpha = 6.0;
  for (std::int64_t t = 0; t < tasks; ++t) set.tasks.push_back("t" + std::to_string(t));
  set.sites = {{"site", 4, 6, 0}};
  set.factors = at::randn({options.skills * set.lora.rank * (4 + 6)}, dtype);
  set.logits = at::randn({tasks, 1, options.splits, options.skills}, dtype);
  return set;
}

SkillOptions options_of(std::int64_t skills, std::int64_t splits) {
  SkillOptions options;
  options.skills = skills;
  options.splits = splits;
  return options;
}

TEST(Skills, AnMhrCompositionAsWorkedOutByHand) {
  SkillSet set;
  set.options = options_of(2, 2);
  set.lora.rank = 1;
  set.lora.alpha = 1.0;
  set.tasks = {"a"};
  set.sites = {{"site", 2, 2, 0}};
  // m = 1/2, 1/2 in the first split; 3/4, 1/4 in the second.
  const float third = std::log(3.0f);
  set.logits = at::tensor({0.0f, 0.0f, third, -third}).view({1, 1, 2, 2});
  // A of split 0: 2, 4; of split 1: 8, 4. B of split 0: 1, 3; of split 1: 4, 0.
  set.factors = at::tensor({2.0f, 4.0f, 8.0f, 4.0f, 1.0f, 3.0f, 4.0f, 0.0f});
  const auto folded = fold(set, "a").sites.at("site");
  EXPECT_TRUE(at::allclose(folded.a, at::tensor({3.0f, 7.0f}).view({1, 2}), 1e-6, 0.0)) << folded.a;
  EXPECT_TRUE(at::allclose(folded.b, at::tensor({2.0f, 3.0f}).view({2, 1}), 1e-6, 0.0)) << folded.b;
}

/// y += scale B_t A_t x by loops over splits and skills, nothing composed.
std::vector<double> naive(const SkillSet& set, const at::Tensor& w, const at::Tensor& x) {
  const auto S = set.options.splits, E = set.options.skills, R = set.lora.rank, in = 4 / S, out = 6 / S;
  const auto flat = set.factors.contiguous();
  const double* a = flat.const_data_ptr<double>();
  const double* b = a + E * R * 4;
  std::vector<double> u(static_cast<std::size_t>(R), 0.0), y(6, 0.0);
  for (std::int64_t s = 0; s < S; ++s)
    for (std::int64_t e = 0; e < E; ++e)
      for (std::int64_t r = 0; r < R; ++r)
        for (std::int64_t i = 0; i < in; ++i)
          u[static_cast<std::size_t>(r)] +=
              w[s][e].item<double>() * a[((s * E + e) * R + r) * in + i] * x[s * in + i].item<double>();
  for (std::int64_t s = 0; s < S; ++s)
    for (std::int64_t e = 0; e < E; ++e)
      for (std::int64_t o = 0; o < out; ++o)
        for (std::int64_t r = 0; r < R; ++r)
          y[static_cast<std::size_t>(s * out + o)] +=
              2.0 * w[s][e].item<double>() * b[((s * E + e) * out + o) * R + r] * u[static_cast<std::size_t>(r)];
  return y;
}

TEST(Skills, AFoldedTaskIsTheCompositionOfEachToken) {
  for (const std::int64_t splits : {1, 2}) {
    const auto set = small_set(options_of(5, splits), 3, at::kDouble);
    const auto weights = skill_weights(skill_use(set.logits, set.options), set.options);
    const auto folded = fold(set, weights);
    const auto x = at::randn({4}, at::kDouble);
    for (std::int64_t t = 0; t < 3; ++t) {
      const auto& f = folded[static_cast<std::size_t>(t)].sites.at("site");
      const auto y = f.b.matmul(f.a.matmul(x)) * f.scale;
      const auto expected = naive(set, weights[t][0], x);
      for (std::int64_t o = 0; o < 6; ++o)
        EXPECT_NEAR(y[o].item<double>(), expected[static_cast<std::size_t>(o)], 1e-12) << splits << " " << t;
    }
  }
}

TEST(Skills, EqualLogitsAndUnknownTasksGiveTheMean) {
  auto set = small_set(options_of(4, 1), 1);
  const auto a = set.factors.narrow(0, 0, 4 * 3 * 4).view({4, 3, 4}).mean(0);
  const auto b = set.factors.narrow(0, 4 * 3 * 4, 4 * 6 * 3).view({4, 6, 3}).mean(0);
  set.logits.fill_(0.7);
  for (const auto* task : {"t0", "never seen"}) {
    const auto f = fold(set, task).sites.at("site");
    EXPECT_TRUE(at::allclose(f.a, a, 1e-5, 1e-6)) << task;
    EXPECT_TRUE(at::allclose(f.b, b, 1e-5, 1e-6)) << task;
  }
  set.logits[0][0][0][1] = 3.0;
  EXPECT_FALSE(at::allclose(fold(set, "t0").sites.at("site").a, a, 1e-2, 1e-2));
}

TEST(Skills, Normalisations) {
  auto o = options_of(4, 2);
  const auto logits = at::tensor({-1.0f, 0.5f, 2.0f, 0.0f, 1.0f, 1.0f, -3.0f, 0.25f}).view({1, 1, 2, 4});
  const auto m = skill_use(logits, o);
  EXPECT_TRUE(at::allclose(m, 1.0 / (1.0 + (-logits).exp())));
  EXPECT_TRUE(at::allclose(skill_weights(m, o).sum(-1), at::tensor({1.0f, 1.0f}).view({1, 1, 2})));
  o.normalisation = SkillOptions::Normalisation::corrected;
  EXPECT_TRUE(at::allclose(skill_weights(m, o), m * std::sqrt(2.0) / 2.0));
  o.shared_skill = true;
  EXPECT_TRUE(
      at::allclose(skill_weights(m, o).select(-1, 3), at::tensor({1.0f, 1.0f}).view({1, 1, 2}) / std::sqrt(2.0)));
  o.shared_skill = false;
  o.normalisation = SkillOptions::Normalisation::unit;
  const auto unit = skill_weights(skill_use(logits, o), o);
  EXPECT_TRUE(at::allclose(unit.square().sum(-1), at::tensor({1.0f, 1.0f}).view({1, 1, 2})));
  EXPECT_LT(unit.min().item<float>(), 0.0f) << "the sign of a logit stays";
}

/// A random linear function of what is folded, in float64.
at::Tensor probe(const SkillSet& set, const std::vector<at::Tensor>& with) {
  at::Tensor sum = at::zeros({}, at::kDouble);
  std::size_t next = 0;
  for (const auto& adapter : fold(set, skill_weights(skill_use(set.logits, set.options), set.options))) {
    const auto& f = adapter.sites.at("site");
    sum = sum + (f.a * with[next]).sum() + (f.b * with[next + 1]).sum();
    next += 2;
  }
  return sum;
}

TEST(Skills, GradientsAreThoseOfFiniteDifferences) {
  using Normalisation = SkillOptions::Normalisation;
  for (const auto normalisation : {Normalisation::share, Normalisation::corrected, Normalisation::unit}) {
    auto options = options_of(3, 2);
    options.normalisation = normalisation;
    options.shared_skill = normalisation == Normalisation::share;
    auto set = small_set(options, 2, at::kDouble);
    std::vector<at::Tensor> with;
    for (int t = 0; t < 2; ++t) {
      with.push_back(at::randn({3, 4}, at::kDouble));
      with.push_back(at::randn({6, 3}, at::kDouble));
    }
    set.logits.set_requires_grad(true);
    set.factors.set_requires_grad(true);
    probe(set, with).backward();
    const c10::AutoGradMode no_gradient(false);
    for (auto* values : {&set.logits, &set.factors}) {
      const auto gradient = values->grad().reshape({-1});
      auto flat = values->view({-1});
      for (std::int64_t i = 0; i < flat.numel(); ++i) {
        constexpr double kStep =
            1e-5;  // error of central differences: kStep^2 times third derivatives, which reach 1e3 here
        flat[i] += kStep;
        const double above = probe(set, with).item<double>();
        flat[i] -= 2 * kStep;
        const double below = probe(set, with).item<double>();
        flat[i] += kStep;
        EXPECT_NEAR(gradient[i].item<double>(), (above - below) / (2 * kStep), 1e-7);
      }
    }
  }
}

class TinySkills : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("quiver_skills_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  SkillSet skills(const SkillOptions& options, std::vector<std::string> targets = {}) const {
    adapter::LoraOptions lora;
    lora.rank = 2;
    lora.alpha = 1.0;
    lora.targets = std::move(targets);
    return make_skills(model_, lora, options, {"t0", "t1"}, 3);
  }

  library::Library library() const { return library::Library::open_or_create(folder_, "tiny", model_.fingerprint()); }

  std::shared_ptr<adapter::Bank> bank_of(const std::vector<adapter::Adapter>& adapters) const {
    auto bank = std::make_shared<adapter::Bank>(model_);
    for (const auto& adapter : adapters) bank->add("e", adapter);
    return bank;
  }

  at::Tensor logits_of(const std::vector<std::int32_t>& ids, const adapter::Adapter& adapter) const {
    const auto batch = model::pack({{ids, nullptr, true}});
    const auto source = bind_rows(bank_of({adapter}), batch, {{{0, 1.0f}}});
    return model_.logits(model_.forward(batch, source.get()));
  }

  fs::path folder_;
  model::Model model_ = model::load_model(kGolden / "llama_untied", at::kFloat);
};

TEST_F(TinySkills, FreshSkillsStartAsAdaptersDo) {
  const auto set = skills(options_of(4, 2));
  EXPECT_EQ(set.sites.size(), model_.sites().size());
  EXPECT_EQ(set.logits.sizes(), (at::IntArrayRef{2, 14, 2, 4}));
  EXPECT_LE(set.logits.abs().max().item<float>(), 1e-3f);
  EXPECT_GT(set.logits.std().item<float>(), 3e-4f);
  const auto mean = mean_skill(set);
  for (const auto& [site, f] : mean.sites) {
    EXPECT_EQ(f.b.abs().max().item<float>(), 0.0f) << site;
    EXPECT_GT(f.a.abs().max().item<float>(), 0.0f) << site;
  }
  EXPECT_TRUE(at::equal(set.factors, skills(options_of(4, 2)).factors)) << "the same of one seed";
}

TEST_F(TinySkills, LogitsPerSiteLayerOrModel) {
  auto options = options_of(2, 1);
  options.granularity = SkillOptions::Granularity::layer;
  const auto layers = skills(options, {"q_proj", "down_proj"});
  ASSERT_EQ(layers.sites.size(), 4u);
  EXPECT_EQ(layers.selectors(), 2);
  EXPECT_EQ(layers.sites[1].selector, 0);
  EXPECT_EQ(layers.sites[2].selector, 1);
  options.granularity = SkillOptions::Granularity::model;
  EXPECT_EQ(skills(options).selectors(), 1);
}

TEST_F(TinySkills, SplitsMustDivideEverySite) {
  try {
    skills(options_of(2, 5));
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("model.layers.0.self_attn.q_proj"), std::string::npos) << error.what();
  }
}

TEST_F(TinySkills, OutputsAndGradientsArePefts) {
  const auto file = tensor_io::open_safetensors(kGolden / "poly" / "golden.safetensors");
  auto set = skills(options_of(3, 2));
  std::vector<at::Tensor> flat, logits;
  for (const auto& site : set.sites) {
    flat.push_back(file->load("A." + site.name).transpose(2, 3).reshape({-1}));
    flat.push_back(file->load("B." + site.name).transpose(2, 3).reshape({-1}));
    logits.push_back(file->load("logits." + site.name).view({2, 2, 3}));
  }
  set.factors = at::cat(flat).set_requires_grad(true);
  set.logits = at::stack(logits, 1).set_requires_grad(true);
  const auto folded = fold(set, skill_weights(skill_use(set.logits, set.options), set.options));
  const auto bank = bank_of(folded);
  at::Tensor loss = at::zeros({});
  std::int64_t count = 0;
  for (int n = 0; n < 3; ++n) {
    const auto ids = file->load("ids." + std::to_string(n));
    std::vector<std::int32_t> row;
    for (std::int64_t i = 0; i < ids.numel(); ++i) row.push_back(ids[i].item<std::int32_t>());
    const auto batch = model::pack({{row, nullptr, true}});
    const auto source = bind_rows(bank, batch, {{{file->load("task")[n].item<std::int64_t>(), 1.0f}}});
    const auto out = model_.logits(model_.forward(batch, source.get()));
    // float32 sums over at most 96 terms in another order.
    EXPECT_LT(distance(out.detach(), file->load("output." + std::to_string(n))), 2e-5) << n;
    loss = loss + at::cross_entropy_loss(out.slice(0, 0, -1), ids.slice(0, 1), {}, at::Reduction::Sum);
    count += ids.numel() - 1;
  }
  loss = loss / count;
  EXPECT_NEAR(loss.item<double>(), file->load("loss").item<double>(), 1e-5);
  loss.backward();
  std::int64_t at = 0;
  for (std::size_t i = 0; i < set.sites.size(); ++i) {
    const auto& name = set.sites[i].name;
    EXPECT_LT(distance(set.logits.grad().select(1, static_cast<std::int64_t>(i)).reshape({2, 6}),
                       file->load("grad.logits." + name)),
              1e-4)
        << name;
    for (const std::string factor : {"A.", "B."}) {
      const auto expected = file->load("grad." + factor + name).transpose(2, 3).reshape({-1});
      EXPECT_LT(distance(set.factors.grad().narrow(0, at, expected.numel()), expected), 1e-4) << factor << name;
      at += expected.numel();
    }
  }
}

TEST_F(TinySkills, ComeBackFromALibraryAsTheyWere) {
  auto options = options_of(3, 2);
  options.normalisation = SkillOptions::Normalisation::corrected;
  options.granularity = SkillOptions::Granularity::layer;
  options.shared_skill = true;
  const auto set = skills(options, {"v_proj", "up_proj"});
  save_router(library(), to_saved_router(set, "mine", {{"steps", 3}}));
  const auto again = read_skills(library(), "mine");
  EXPECT_TRUE(at::equal(again.factors, set.factors));
  EXPECT_TRUE(at::equal(again.logits, set.logits));
  EXPECT_EQ(again.tasks, set.tasks);
  EXPECT_EQ(again.options.normalisation, options.normalisation);
  EXPECT_EQ(again.options.granularity, options.granularity);
  EXPECT_TRUE(again.options.shared_skill);
  EXPECT_EQ(again.lora.alpha, 1.0);
  ASSERT_EQ(again.sites.size(), set.sites.size());
  for (std::size_t i = 0; i < set.sites.size(); ++i) {
    EXPECT_EQ(again.sites[i].name, set.sites[i].name);
    EXPECT_EQ(again.sites[i].in, set.sites[i].in);
    EXPECT_EQ(again.sites[i].out, set.sites[i].out);
    EXPECT_EQ(again.sites[i].selector, set.sites[i].selector);
  }
}

TEST_F(TinySkills, ADamagedRouterIsAnErrorThatNamesIt) {
  const auto set = skills(options_of(3, 2), {"v_proj"});
  const auto good = to_saved_router(set, "odd", nullptr);
  const auto refused = [&](auto damage) {
    auto router = good;
    damage(router);
    save_router(library(), router);
    try {
      read_skills(library(), "odd");
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("odd"), std::string::npos) << error.what();
      return;
    }
    ADD_FAILURE() << "expected an Error";
  };
  refused([](auto& r) { r.options.erase("splits"); });
  refused([](auto& r) { r.options["skills"] = 4; });
  refused([](auto& r) { r.options["tasks"].push_back("more"); });
  refused([](auto& r) { r.options["sites"][0][1] = 9; });
  refused([](auto& r) { r.options["lora"]["rank"] = "2"; });
  refused([](auto& r) { r.tensors.erase("logits"); });
  refused([](auto& r) { r.tensors.begin()->second = at::zeros({2, 2}); });
  refused([](auto& r) { r.kind = "gates"; });
}

TEST_F(TinySkills, TheRouteServesEachRowItsOwnTask) {
  auto set = skills(options_of(3, 2));
  set.factors = at::randn(set.factors.sizes()) * 0.3;
  set.logits = at::randn(set.logits.sizes()) * 2.0;
  save_router(library(), to_saved_router(set, "poly", nullptr));
  RouterInputs inputs;
  inputs.bank = std::make_shared<adapter::Bank>(model_);
  inputs.library = std::make_shared<const library::Library>(library());
  const c10::AutoGradMode no_gradient(false);
  const std::vector<std::int32_t> ids{5, 9, 33, 7}, other{8, 8, 3};
  const auto router = make_router(parse_route("poly"), inputs);
  const auto batch = model::pack({{ids, nullptr, true}, {other, nullptr, true}, {ids, nullptr, true}});
  const auto source = bind_once(*router, batch, {{"t1", ids}, {"t0", other}, {"new", ids}});
  const auto out = model_.logits(model_.forward(batch, source.get()));
  EXPECT_LT(distance(out.slice(0, 0, 4), logits_of(ids, fold(set, "t1"))), 2e-5);
  EXPECT_LT(distance(out.slice(0, 4, 7), logits_of(other, fold(set, "t0"))), 2e-5);
  EXPECT_LT(distance(out.slice(0, 7, 11), logits_of(ids, mean_skill(set))), 2e-5);
  EXPECT_GT(distance(out.slice(0, 0, 4), out.slice(0, 7, 11)), 1e-2)
      << "the tasks must differ for this to say anything";
  const auto forced = make_router(parse_route("poly:name=poly,task=t0"), inputs);
  const auto one = model::pack({{ids, nullptr, true}});
  const auto bound = bind_once(*forced, one, {{"t1", ids}});
  EXPECT_LT(distance(model_.logits(model_.forward(one, bound.get())), logits_of(ids, fold(set, "t0"))), 2e-5);
  EXPECT_THROW(make_router(parse_route("poly:task=t9,name=poly"), inputs), Error);
  EXPECT_THROW(make_router(parse_route("poly:gone"), inputs), Error);
}

}  // namespace
}  // namespace quiver::routing
