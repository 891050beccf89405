// SPDX-License-Identifier: Apache-2.0
// Signatures, and the routes that choose by them, against transformers and NumPy (tools/goldens/prompt_golden.py).
#include "quiver/routing/request/signature.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "quiver/base/error.h"
#include "quiver/routing/request/prompt_router.h"
#include "quiver/routing/router_table.h"
#include "quiver/routing/test_bank.h"
#include "quiver/routing/token/directions.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::routing {
namespace {

constexpr std::int64_t kExperts = 3;

class Signatures : public WithBank {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    library_ =
        std::make_shared<library::Library>(library::Library::open_or_create(folder_, "tiny", model_.fingerprint()));
    inputs_.bank = bank({2, 2, 2});
    inputs_.library = library_;
    inputs_.model = model_;
    inputs_.progress = &silent_;
    for (std::int64_t e = 0; e < kExperts; ++e) save(e, 0);
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// Saves expert e of the bank, its factors those of expert `as`.
  void save(std::int64_t e, std::int64_t as) {
    library::ExpertInfo info;
    info.name = inputs_.bank->names()[static_cast<std::size_t>(e)];
    info.base_fingerprint = model_.fingerprint();
    adapter::Adapter own;
    own.sites[model_.sites()[0].name] = inputs_.bank->site(0).experts[static_cast<std::size_t>(as)];
    library_->save(info, own, true);
    inputs_.identities.resize(kExperts);
    inputs_.identities[static_cast<std::size_t>(e)] = library_->info(info.name).identity;
  }
  std::vector<std::int32_t> ids(const std::string& name) const {
    const auto values = golden_->load(name);
    std::vector<std::int32_t> out;
    for (std::int64_t i = 0; i < values.numel(); ++i) out.push_back(values[i].item<std::int32_t>());
    return out;
  }
  std::vector<std::vector<std::int32_t>> prompts(std::int64_t e) const {
    std::vector<std::vector<std::int32_t>> out;
    for (int n = 0; n < 4; ++n) out.push_back(ids("expert." + std::to_string(e) + ".ids." + std::to_string(n)));
    return out;
  }
  at::Tensor features(std::int64_t e) const { return prompt_features(model_, prompts(e)); }
  void write_all() const {
    for (std::int64_t e = 0; e < kExperts; ++e) {
      const auto i = static_cast<std::size_t>(e);
      write_signature(*library_, inputs_.bank->names()[i], inputs_.identities[i], model_, prompts(e));
    }
  }
  std::vector<Request> queries() const {
    std::vector<Request> out;
    for (int n = 0; n < 5; ++n) out.push_back({"", ids("query." + std::to_string(n))});
    return out;
  }
  std::vector<std::vector<ops::ExpertWeight>> chosen(const std::string& route) const {
    const auto router = make_router(parse_route(route), inputs_);
    return dynamic_cast<const RequestRouter&>(*router).choose(queries());
  }
  at::Tensor expected(const std::string& name) const { return golden_->load(name).to(at::kDouble); }

  const fs::path folder_ = fs::temp_directory_path() / ("quiver_signatures_" + std::to_string(getpid()));
  std::shared_ptr<tensor_io::TensorSource> golden_ =
      tensor_io::open_safetensors(fs::path(QUIVER_SOURCE_DIR) / "tests/golden/prompt/golden.safetensors");
  std::shared_ptr<library::Library> library_;
  RouterInputs inputs_;
  SilentProgress silent_;
};

double weight_of(const std::vector<ops::ExpertWeight>& pairs, std::int64_t expert) {
  for (const auto& [e, weight] : pairs) {
    if (e == expert) return weight;
  }
  return 0.0;
}

TEST_F(Signatures, FeaturesAreTheMeansOfTheStatesThatThreeLayersRead) {
  for (std::int64_t e = 0; e < kExperts; ++e) {
    const auto got = features(e).to(at::kDouble);
    const auto own = expected("expert." + std::to_string(e) + ".features");
    ASSERT_EQ(got.sizes(), (at::IntArrayRef{4, 96}));
    // float32 sums over at most 48 terms in another order, of values of order 1.
    EXPECT_LT((got - own).abs().max().item<double>(), 2e-5) << e;
  }
  std::vector<std::vector<std::int32_t>> prompts;
  for (const auto& request : queries()) prompts.push_back(request.prompt);
  EXPECT_LT((prompt_features(model_, prompts).to(at::kDouble) - expected("query.features")).abs().max().item<double>(),
            2e-5);
}

TEST_F(Signatures, PromptsOfManyPassesAreThoseOfOne) {
  // 300 prompts of 8 tokens are more than a pass takes.
  const std::vector<std::int32_t> one{3, 9, 27, 31, 5, 6, 7, 90}, other{40, 41, 42, 43, 44, 45, 46, 47};
  std::vector<std::vector<std::int32_t>> prompts(299, one);
  prompts.push_back(other);
  const auto all = prompt_features(model_, prompts), alone = prompt_features(model_, {one, other});
  ASSERT_EQ(all.sizes(), (at::IntArrayRef{300, 96}));
  EXPECT_LT((all.narrow(0, 0, 299) - alone[0]).abs().max().item<double>(), 2e-5);
  EXPECT_LT((all[299] - alone[1]).abs().max().item<double>(), 2e-5);
}

TEST_F(Signatures, AreKeptForAnExpertUntilItChanges) {
  const ExpertFiles files(inputs_, kSignatures);
  EXPECT_FALSE(experts_without_signature(inputs_).empty());
  write_all();
  EXPECT_TRUE(experts_without_signature(inputs_).empty());
  EXPECT_TRUE(files.open(1, made_from(prompts(1))));
  EXPECT_FALSE(files.open(1, made_from(prompts(2)))) << "other prompts";
  const auto read = read_signatures(inputs_, "auto");
  ASSERT_EQ(read.size(), 3u);
  for (std::int64_t e = 0; e < kExperts; ++e) {
    const auto own = features(e);
    // Stored as float16: half a unit in the last of 11 bits.
    const auto bound = own.abs() * std::ldexp(1.0, -11) + 1e-7;
    EXPECT_TRUE(((read[static_cast<std::size_t>(e)] - own).abs() <= bound).all().item<bool>()) << e;
  }
  save(1, 2);
  EXPECT_EQ(files.missing(), (std::vector<std::size_t>{1}));
  try {
    read_signatures(inputs_, "ariadne");
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'e1' has no signature"), std::string::npos) << error.what();
  }
}

TEST_F(Signatures, WhatIsComputedFromAnExpertIsKeptUnderWhatItWas) {
  // The bank holds expert 1 as it was; meanwhile the library gets another in its place.
  const auto before = inputs_;
  save(1, 2);
  const auto name = inputs_.bank->names()[1];
  ExpertFiles(before, kSignatures).write(1, {{"features", features(1)}}, made_from(prompts(1)));
  EXPECT_FALSE(ExpertFiles(inputs_, kSignatures).open(1)) << "the new expert has none";
  EXPECT_TRUE(ExpertFiles(before, kSignatures).open(1));
  EXPECT_FALSE(library_->derived("signature/" + name, library_->info(name).identity, "safetensors"));
}

TEST_F(Signatures, WhatAnEarlierVersionOfTheMethodLeftIsNotRead) {
  ExpertFiles(inputs_, {"signature", 1}).write(0, {{"features", features(0)}}, "");
  EXPECT_TRUE(ExpertFiles(inputs_, {"signature", 1}).open(0));
  EXPECT_FALSE(ExpertFiles(inputs_, {"signature", 2}).open(0));
  ExpertFiles(inputs_, {"signature", 2}).write(0, {{"features", features(0)}}, "");
  EXPECT_TRUE(ExpertFiles(inputs_, {"signature", 2}).open(0));
}

TEST_F(Signatures, PrototypesThatAReplacementDroppedAreComputedAgain) {
  const auto before = inputs_;
  const auto first = library_prototypes(before).flat().clone();
  save(1, 2);
  library_prototypes(inputs_);
  EXPECT_FALSE(ExpertFiles(before, {"prototypes"}).open(1)) << "the new expert's took their place";
  EXPECT_TRUE(library_prototypes(before).flat().equal(first));
}

TEST_F(Signatures, RowsAreSpreadOverAll) {
  EXPECT_EQ(signature_rows(3, 5), (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(signature_rows(10, 4), (std::vector<std::size_t>{0, 2, 5, 7}));
  EXPECT_TRUE(signature_rows(0, 4).empty());
}

TEST_F(Signatures, AriadneChoosesTheNearestMean) {
  write_all();
  const auto pairs = chosen("ariadne");
  ASSERT_EQ(pairs.size(), 5u);
  for (std::size_t n = 0; n < 5; ++n) {
    const auto nearest = expected("ariadne")[static_cast<std::int64_t>(n)].item<std::int64_t>();
    ASSERT_EQ(pairs[n].size(), 1u) << n;
    EXPECT_EQ(pairs[n][0], (ops::ExpertWeight{nearest, 1.0f})) << n;
  }
  // Cosines of the queries' nearest run from 0.16 to 0.30: a floor between leaves the base model to some.
  for (std::size_t n = 0; n < 5; ++n) {
    const auto best = expected("cosine")[static_cast<std::int64_t>(n)].max().item<double>();
    EXPECT_EQ(chosen("ariadne:floor=0.25")[n].empty(), best < 0.25) << n;
  }
}

TEST_F(Signatures, LorauterWeighsTheNearestByTheirCosines) {
  write_all();
  const auto pairs = chosen("lorauter:top_k=2");
  for (std::size_t n = 0; n < 5; ++n) {
    for (std::int64_t e = 0; e < kExperts; ++e) {
      const auto weight = expected("lorauter")[static_cast<std::int64_t>(n)][e].item<double>();
      // Features of 11 bits move a cosine by at most 2^-11 (as much of a vector's length), so a difference of two, over
      // the temperature 0.05, by 2^-10 / 0.05 = 0.02, and a softmax of two by a quarter of it. Weights below a
      // thousandth are left out.
      EXPECT_NEAR(weight_of(pairs[n], e), weight, 0.006) << n << " " << e;
    }
  }
  // All three, and a higher temperature, from the features as they are.
  std::vector<at::Tensor> exact;
  for (std::int64_t e = 0; e < kExperts; ++e) exact.push_back(expected("expert." + std::to_string(e) + ".features"));
  for (auto& f : exact) f = f.to(at::kFloat);
  const auto warm = CosineRouter(inputs_.bank, model_, exact, {3, 0.5}, ops::Combine::outputs).choose(queries());
  const auto weights = (expected("cosine") / 0.5).softmax(1);
  for (std::size_t n = 0; n < 5; ++n) {
    for (std::int64_t e = 0; e < kExperts; ++e)
      EXPECT_NEAR(weight_of(warm[n], e), weights[static_cast<std::int64_t>(n)][e].item<double>(), 1e-4)
          << n << " " << e;
  }
}

TEST_F(Signatures, ARequestWithoutAPromptOrARouteWithoutALibraryIsRefused) {
  write_all();
  const auto router = make_router(parse_route("lorauter"), inputs_);
  EXPECT_THROW(router->sessions()->open({Request{}}), Error);
  auto without = inputs_;
  without.library = nullptr;
  EXPECT_THROW(make_router(parse_route("ariadne"), without), Error);
  EXPECT_THROW(make_router(parse_route("ariadne:sharpness=2"), inputs_), Error) << "an option of auto";
}

}  // namespace
}  // namespace quiver::routing
