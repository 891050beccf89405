// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/bank.h"

#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "quiver/base/error.h"
#include "quiver/model/load.h"

namespace quiver::adapter {
namespace {

class TinyBank : public testing::Test {
 protected:
  Adapter lora(std::int64_t rank, std::vector<std::string> targets = {}) const {
    LoraOptions options;
    options.rank = rank;
    options.targets = std::move(targets);
    return make_lora(model_, options, static_cast<std::uint64_t>(rank));
  }

  std::int64_t sites() const { return static_cast<std::int64_t>(model_.sites().size()); }
  const std::string& name_of(std::int64_t site) const { return model_.sites()[static_cast<std::size_t>(site)].name; }

  /// The message of the Error of `code` that adding the adapter throws.
  std::string refusal(Bank& bank, const Adapter& adapter, ErrorCode code) const {
    try {
      bank.add("odd", adapter);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "expected an Error";
    return "";
  }

  model::Model model_ =
      model::load_model(fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "llama_untied", at::kFloat);
};

TEST_F(TinyBank, KeepsExpertsOfUnequalRanksSideBySideAtTheirTrueRanks) {
  const std::vector<Adapter> adapters{lora(2), lora(7, {"q_proj", "down_proj"}), lora(1), lora(16, {"v_proj"})};
  Bank bank(model_);
  for (std::size_t e = 0; e < adapters.size(); ++e) {
    EXPECT_EQ(bank.add("expert" + std::to_string(e), adapters[e]), static_cast<std::int64_t>(e));
  }
  EXPECT_EQ(bank.size(), 4);
  for (std::int64_t s = 0; s < sites(); ++s) {
    ASSERT_EQ(bank.site(s).experts.size(), adapters.size()) << name_of(s);
    for (std::size_t e = 0; e < adapters.size(); ++e) {
      const auto& kept = bank.site(s).experts[e];
      const auto own = adapters[e].sites.find(name_of(s));
      if (own == adapters[e].sites.end()) {
        EXPECT_FALSE(kept.a.defined() || kept.b.defined()) << name_of(s) << " expert " << e;
        continue;
      }
      // No copy and no padding: the very factors that the adapter has.
      EXPECT_TRUE(kept.a.is_same(own->second.a)) << name_of(s) << " expert " << e;
      EXPECT_TRUE(kept.b.is_same(own->second.b)) << name_of(s) << " expert " << e;
      EXPECT_EQ(kept.scale, own->second.scale);
      EXPECT_EQ(kept.a.size(0), adapters[e].options.rank);
    }
  }
}

TEST_F(TinyBank, KnowsWhichSitesAreTouched) {
  Bank bank(model_);
  for (std::int64_t s = 0; s < sites(); ++s) EXPECT_FALSE(bank.touches(s));
  bank.add("one", lora(2, {"v_proj"}));
  bank.add("two", lora(3, {"o_proj"}));
  int touched = 0;
  for (std::int64_t s = 0; s < sites(); ++s) {
    EXPECT_EQ(bank.touches(s), name_of(s).ends_with("v_proj") || name_of(s).ends_with("o_proj")) << name_of(s);
    touched += bank.touches(s);
  }
  EXPECT_EQ(touched, 4);
}

TEST_F(TinyBank, FindsExpertsByName) {
  Bank bank(model_);
  bank.add("sentiment", lora(2));
  bank.add("topics", lora(3));
  EXPECT_EQ(bank.number("sentiment"), 0);
  EXPECT_EQ(bank.number("topics"), 1);
  EXPECT_EQ(bank.names(), (std::vector<std::string>{"sentiment", "topics"}));
  try {
    bank.number("topic");
    ADD_FAILURE() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("did you mean 'topics'"), std::string::npos) << error.what();
  }
}

TEST_F(TinyBank, RefusesWhatTheModelDoesNotHaveByTheSitesName) {
  Bank bank(model_);
  auto unknown = lora(2);
  unknown.sites["model.layers.2.self_attn.q_proj"] = unknown.sites.begin()->second;
  EXPECT_NE(refusal(bank, unknown, ErrorCode::mismatch).find("'model.layers.2.self_attn.q_proj'"), std::string::npos);

  const std::string site = "model.layers.1.mlp.down_proj";
  auto narrow = lora(2);
  narrow.sites.at(site).a = at::zeros({2, 47});
  const auto message = refusal(bank, narrow, ErrorCode::mismatch);
  EXPECT_NE(message.find(site + ": A [2, 47] and B [32, 2]"), std::string::npos) << message;
  auto tall = lora(2);
  tall.sites.at(site).b = at::zeros({33, 2});
  EXPECT_NE(refusal(bank, tall, ErrorCode::mismatch).find("B [33, 2]"), std::string::npos);
}

TEST_F(TinyBank, ARefusedExpertLeavesTheBankAsItWas) {
  Bank bank(model_);
  bank.add("good", lora(2));
  auto bad = lora(3);
  bad.sites.at("model.layers.1.mlp.down_proj").a = at::zeros({3, 47});
  refusal(bank, bad, ErrorCode::mismatch);
  EXPECT_EQ(bank.size(), 1);
  const auto next = bank.add("next", lora(5));
  EXPECT_EQ(next, 1);
  for (std::int64_t s = 0; s < sites(); ++s) {
    ASSERT_EQ(bank.site(s).experts.size(), 2u) << name_of(s);
    EXPECT_EQ(bank.site(s).experts[static_cast<std::size_t>(next)].a.size(0), 5) << name_of(s);
  }
}

}  // namespace
}  // namespace quiver::adapter
