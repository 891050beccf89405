// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/text_rules.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/model/load.h"
#include "quiver/model/test_small_model.h"
#include "quiver/training/train_options.h"

namespace quiver::workspace {
namespace {

using Join = data::JoinOptions;
using Ids = std::vector<std::int32_t>;

constexpr std::int32_t kStart = 600, kEnd = 601;

/// Keeps what is said.
class Said : public SilentProgress {
 public:
  void say(const std::string& line) override { lines.push_back(line); }
  std::vector<std::string> lines;
};

class TextRulesTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    model::write_small_model(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// The tokenizer puts <|start|> before texts.
  void begin_texts() const {
    put_around(
        {{{"SpecialToken", {{"id", "<|start|>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}});
  }
  /// The template of a text: the text and <|start|> in some order.
  void put_around(const nlohmann::json& parts) const {
    auto tokenizer = nlohmann::json::parse(read_file(folder_ / "tokenizer.json"));
    tokenizer["post_processor"] = {
        {"type", "TemplateProcessing"},
        {"single", parts},
        {"pair", parts},
        {"special_tokens", {{"<|start|>", {{"id", "<|start|>"}, {"ids", {kStart}}, {"tokens", {"<|start|>"}}}}}}};
    write_file_atomically(folder_ / "tokenizer.json", tokenizer.dump());
  }
  LoadedModel loaded() const { return {model::load_model(folder_, at::kFloat), text::load_tokenizer(folder_)}; }

  /// Experts called a, b, ..., each trained under its rules.
  static ExpertSet experts(const LoadedModel& loaded, const std::vector<Join>& rules) {
    ExpertSet out;
    out.bank = std::make_shared<adapter::Bank>(loaded.model);
    adapter::LoraOptions options;
    options.rank = 2;
    options.targets = {"q_proj"};
    for (std::size_t e = 0; e < rules.size(); ++e) {
      out.bank->add(std::string(1, static_cast<char>('a' + e)), adapter::make_lora(loaded.model, options, e));
      out.training.push_back({{"options", {{"join", training::to_json(rules[e])}}}});
    }
    return out;
  }

  const fs::path folder_ = fs::temp_directory_path() / ("quiver_text_rules_" + std::to_string(getpid()));
};

const Join kMttl{.separator = Join::Separator::mttl_space, .tokenise = Join::Tokenise::joint, .truncate_jointly = true};
const Join kBare{.separator = Join::Separator::none, .append_eos = false};

TEST_F(TextRulesTest, RowsBeginAsTheTokenizerSays) {
  EXPECT_EQ(text_rules({}, loaded()).join.begin_token, -1);
  begin_texts();
  const auto model = loaded();
  EXPECT_EQ(text_rules({}, model).join.begin_token, kStart);
  JoinChoice without;
  without.no_bos = true;
  EXPECT_EQ(text_rules(without, model).join.begin_token, -1);
  const ExpertSet none = experts(model, {});
  Said said;
  const auto rules = rules_for_prompts({}, model, {none, "base", nullptr}, said);
  auto expected = model.text.tokenizer->encode("red 3");
  expected.insert(expected.begin(), kStart);
  EXPECT_EQ(prompt_ids("red 3", rules, *model.text.tokenizer), expected);
  EXPECT_EQ(expected, model.text.tokenizer->encode("red 3", {.add_special_tokens = true}));
}

TEST_F(TextRulesTest, RowsFitTheContextBehindTheVectors) {
  const auto model = loaded();
  const auto context = model.model.config().max_positions;
  JoinChoice choice;
  choice.max_tokens = 1 << 20;
  EXPECT_EQ(text_rules(choice, model).join.max_tokens, context);
  EXPECT_EQ(text_rules(choice, model, {}, 5).join.max_tokens, context - 5);
  choice.max_tokens = 7;
  EXPECT_EQ(text_rules(choice, model, {}, 5).join.max_tokens, 7);
  EXPECT_THROW(text_rules(choice, model, {}, context), Error);
}

TEST_F(TextRulesTest, ExpertsThatAgreeDecideWhatIsLeftOpen) {
  const auto model = loaded();
  const auto known = known_rules(experts(model, {kMttl, kMttl}));
  ASSERT_EQ(known.size(), 2u);
  const auto rules = text_rules({}, model, known);
  EXPECT_EQ(rules.join.separator, Join::Separator::mttl_space);
  EXPECT_EQ(rules.join.tokenise, Join::Tokenise::joint);
  EXPECT_TRUE(rules.join.truncate_jointly);
  EXPECT_TRUE(rules.notes.empty()) << rules.notes[0];

  JoinChoice other;
  other.separator = "none";
  other.no_eos = true;
  const auto chosen = text_rules(other, model, known);
  EXPECT_EQ(chosen.join.separator, Join::Separator::none);
  EXPECT_FALSE(chosen.join.append_eos);
  EXPECT_EQ(chosen.join.tokenise, Join::Tokenise::joint);
  ASSERT_EQ(chosen.notes.size(), 1u);
  EXPECT_NE(chosen.notes[0].find("separator none (trained with mttl-space)"), std::string::npos) << chosen.notes[0];
  EXPECT_NE(chosen.notes[0].find("eos false (trained with true)"), std::string::npos) << chosen.notes[0];
  other = {};
  other.rules = "quiver";
  EXPECT_EQ(text_rules(other, model, known).join.separator, Join::Separator::newline);
  EXPECT_EQ(text_rules(other, model, known).notes.size(), 1u);
}

TEST_F(TextRulesTest, ExpertsThatDisagreeAreNamed) {
  const auto model = loaded();
  const auto set = experts(model, {kMttl, kBare});
  const auto rules = text_rules({}, model, known_rules(set));
  EXPECT_EQ(rules.join.separator, Join::Separator::newline);
  ASSERT_EQ(rules.notes.size(), 1u);
  EXPECT_NE(rules.notes[0].find("'a'"), std::string::npos) << rules.notes[0];
  EXPECT_NE(rules.notes[0].find("'b'"), std::string::npos) << rules.notes[0];
  for (const auto* route : {"expert:b", "mix:b=0.5"}) {
    const auto own = text_rules({}, model, rules_of_route(set, route));
    EXPECT_EQ(own.join.separator, Join::Separator::none) << route;
    EXPECT_FALSE(own.join.append_eos) << route;
    EXPECT_TRUE(own.notes.empty()) << route;
  }
  EXPECT_EQ(rules_of_route(set, "base").size(), 2u);
  EXPECT_EQ(rules_of_route(set, "arrow:top_k=1").size(), 2u);
}

TEST_F(TextRulesTest, WhatExpertsAgreeOnIsTakenWhateverElseTheyDifferIn) {
  const auto model = loaded();
  Join open = kMttl;
  open.append_eos = false;
  const auto set = experts(model, {kMttl, open});
  const auto rules = text_rules({}, model, known_rules(set));
  EXPECT_EQ(rules.join.separator, Join::Separator::mttl_space);
  EXPECT_EQ(rules.join.tokenise, Join::Tokenise::joint);
  EXPECT_TRUE(rules.join.truncate_jointly);
  EXPECT_TRUE(rules.join.append_eos) << "the default";
  ASSERT_EQ(rules.notes.size(), 1u);
  EXPECT_NE(rules.notes[0].find("in: eos ('a' was trained with true, 'b' with false)"), std::string::npos)
      << rules.notes[0];
  JoinChoice choice;
  choice.no_eos = true;
  EXPECT_TRUE(text_rules(choice, model, known_rules(set)).notes.empty()) << "nothing is left open";
}

TEST_F(TextRulesTest, PromptsAreReadAsTheSourcesOfRows) {
  const auto model = loaded();
  const auto& tokenizer = *model.text.tokenizer;
  Join open;
  open.append_eos = false;
  Join begun;
  begun.begin_token = kStart;
  const std::vector<std::vector<Join>> sets{{{}, open}, {kMttl, kBare}, {{}, kMttl}, {begun, open}, {kMttl, begun}};
  for (std::size_t s = 0; s < sets.size(); ++s) {
    const RoutedExperts routed{experts(model, sets[s]), "uniform", nullptr};
    for (const auto* name : {"auto", "quiver", "mttl"}) {
      JoinChoice choice;
      choice.rules = name;
      Said said;
      const auto prompts = rules_for_prompts(choice, model, routed, said);
      const auto rows = text_rules(choice, model, rules_of_route(routed.experts, routed.route)).join;
      for (const auto* text : {"red 3", "red 3 ", "red 3\n"})
        EXPECT_EQ(prompt_ids(text, prompts, tokenizer), prompt_ids(text, rows, tokenizer)) << s << name << text;
    }
  }
  JoinChoice quiver;
  quiver.rules = "quiver";
  Said said;
  const RoutedExperts base{experts(model, {}), "base", nullptr};
  EXPECT_EQ(prompt_ids("red 3", rules_for_prompts(quiver, model, base, said), tokenizer), tokenizer.encode("red 3\n"));
}

TEST_F(TextRulesTest, PromptsEndAsTheExpertsSourcesDid) {
  const auto model = loaded();
  const auto& tokenizer = *model.text.tokenizer;
  const auto ids = [&](const std::vector<Join>& rules, const std::string& text, const JoinChoice& choice = {}) {
    Said said;
    RoutedExperts routed{experts(model, rules), rules.empty() ? "base" : "uniform", nullptr};
    return prompt_ids(text, rules_for_prompts(choice, model, routed, said), tokenizer);
  };
  EXPECT_EQ(ids({}, "red 3"), tokenizer.encode("red 3"));
  EXPECT_EQ(ids({{}}, "red 3"), tokenizer.encode("red 3\n"));
  EXPECT_EQ(ids({{}}, "red 3\n"), tokenizer.encode("red 3\n"));
  EXPECT_EQ(ids({kMttl}, "red 3 "), tokenizer.encode("red 3"));
  EXPECT_EQ(ids({kBare}, "red 3"), tokenizer.encode("red 3"));
  JoinChoice none;
  none.separator = "none";
  EXPECT_EQ(ids({{}}, "red 3", none), tokenizer.encode("red 3"));
  EXPECT_EQ(ids({}, std::string(3000, 'x')).size(), tokenizer.encode(std::string(3000, 'x')).size()) << "never cut";
  EXPECT_THROW(ids({}, ""), Error);
}

TEST_F(TextRulesTest, WhatExpertJsonDoesNotSayIsNotGuessed) {
  const auto model = loaded();
  auto set = experts(model, {{}, kMttl, {}});
  set.training[0] = nullptr;
  set.training[2]["options"]["join"]["separator"] = 17;
  const auto known = known_rules(set);
  ASSERT_EQ(known.size(), 1u);
  EXPECT_EQ(known[0].expert, "b");
}

TEST_F(TextRulesTest, SourcesOfEncoderDecodersEndAsTheTokenizerSays) {
  const auto t5 = model::load_model(fs::path(QUIVER_SOURCE_DIR) / "tests/golden/t5/v10", at::kFloat);
  EXPECT_EQ(text_rules({}, {t5, text::load_tokenizer(folder_)}).join.source_end_token, -1);
  put_around(
      {{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, {{"SpecialToken", {{"id", "<|start|>"}, {"type_id", 0}}}}});
  EXPECT_EQ(text_rules({}, {t5, text::load_tokenizer(folder_)}).join.source_end_token, kStart);
  EXPECT_EQ(text_rules({}, loaded()).join.source_end_token, -1);
}

TEST_F(TextRulesTest, BeginOfSequenceIsTheModels) {
  auto config = nlohmann::json::parse(read_file(folder_ / "config.json"));
  config["bos_token_id"] = 7;
  write_file_atomically(folder_ / "config.json", config.dump());
  const auto with = loaded();
  JoinChoice choice;
  choice.bos = true;
  EXPECT_EQ(text_rules(choice, with).join.begin_token, 7);
  EXPECT_EQ(text_rules({}, with).join.begin_token, -1);
  EXPECT_EQ(text_rules({}, with).join.start_token, 7) << "of rows with an empty source";
  choice.no_bos = true;
  EXPECT_THROW(text_rules(choice, with), Error) << "one of the two";

  config.erase("bos_token_id");
  write_file_atomically(folder_ / "config.json", config.dump());
  const auto without = loaded();
  choice.no_bos = false;
  EXPECT_THROW(text_rules(choice, without), Error);
  EXPECT_EQ(text_rules({}, without).join.start_token, kEnd);
}

}  // namespace
}  // namespace quiver::workspace
