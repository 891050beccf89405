// SPDX-License-Identifier: Apache-2.0
// Damaged and unsupported tokenizer files, and the files beside tokenizer.json.
#include "quiver/text/tokenizer_json.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/text/load_tokenizer.h"

namespace quiver::text {
namespace {

using Json = nlohmann::json;

Json small() {
  return Json::parse(R"({"added_tokens": [{"id": 3, "content": "<s>", "special": true}],
    "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": null, "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
}

Tokenizer build(const Json& json) { return Tokenizer(parse_tokenizer_json(json.dump(), "t.json"), "t.json"); }

void expect_error(const Json& json, ErrorCode code, const std::string& mention) {
  try {
    build(json);
    FAIL() << mention;
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.code(), code) << message;
    EXPECT_NE(message.find("t.json"), std::string::npos) << message;
    EXPECT_NE(message.find(mention), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

void expect_error_at(const char* pointer, const Json& value, ErrorCode code, const std::string& mention) {
  auto json = small();
  json[Json::json_pointer(pointer)] = value;
  expect_error(json, code, mention);
}

TEST(TokenizerJson, MergesAreTextOrPairs) {
  auto json = small();
  EXPECT_EQ(build(json).encode("ab<s>"), (std::vector<TokenId>{2, 3}));
  json["model"]["merges"] = Json::array({Json::array({"a", "b"})});
  EXPECT_EQ(build(json).encode("ab"), std::vector<TokenId>{2});
}

TEST(TokenizerJson, UnknownComponentsAreNamed) {
  const auto unsupported = ErrorCode::unsupported;
  expect_error_at("/model/type", "WordPiece", unsupported, "WordPiece");
  expect_error_at("/model/dropout", 0.1, unsupported, "model.dropout");
  expect_error_at("/model/end_of_word_suffix", "</w>", unsupported, "end_of_word_suffix");
  expect_error_at("/normalizer", {{"type", "BertNormalizer"}}, unsupported, "BertNormalizer");
  expect_error_at("/pre_tokenizer", {{"type", "Punctuation"}}, unsupported, "Punctuation");
  expect_error_at("/decoder", {{"type", "CTC"}}, unsupported, "CTC");
  expect_error_at("/decoder", nullptr, unsupported, "decoder");
  expect_error_at("/post_processor", {{"type", "BertProcessing"}}, unsupported, "BertProcessing");
  expect_error_at("/pre_tokenizer",
                  Json::parse(R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]})"),
                  unsupported, "pre_tokenizer.pretokenizers[1]");
  expect_error_at("/pre_tokenizer", Json::parse(R"({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Odd"})"),
                  unsupported, "Odd");
}

TEST(TokenizerJson, DamagedValuesAreNamed) {
  const auto format = ErrorCode::format;
  expect_error_at("/model", 5, format, "model");
  expect_error_at("/model/vocab", Json::array(), format, "model.vocab");
  expect_error_at("/model/vocab", {{"a", -1}}, format, "-1");
  expect_error_at("/model/vocab", {{"a", 1.5}}, format, "1.5");
  expect_error_at("/model/vocab", {{"a", 4000000000}}, format, "4000000000");
  expect_error_at("/model/vocab", {{"a", Json::object()}}, format, "object");
  expect_error_at("/model/vocab", {{"a", 0}, {"b", 0}}, format, "id 0");
  expect_error_at("/model/merges", "a b", format, "model.merges");
  expect_error_at("/model/merges", Json::array({"ab"}), format, "model.merges[0]");
  expect_error_at("/model/merges", Json::array({Json::array({"a", "b", "c"})}), format, "model.merges[0]");
  expect_error_at("/model/merges", Json::array({Json::array({"a", 1})}), format, "model.merges[0][1]");
  expect_error_at("/model/merges", Json::array({"a c"}), format, "'c'");
  expect_error_at("/model/unk_token", "?", format, "'?'");
  expect_error_at("/model/byte_fallback", "yes", format, "model.byte_fallback");
  expect_error_at("/added_tokens", Json::object(), format, "added_tokens");
  expect_error_at("/added_tokens/0/id", 1 << 23, format, "added_tokens[0].id");
  expect_error_at("/added_tokens/0/id", 18446744073709551615u, format, "added_tokens[0].id");
  expect_error_at("/added_tokens/0/content", "", format, "added token");
  expect_error_at("/added_tokens/0/content", "a", format, "'a'");
  expect_error_at("/added_tokens/0/content", nullptr, format, "content");
  expect_error_at("/pre_tokenizer", {{"type", 3}}, format, "pre_tokenizer.type");
  expect_error_at("/pre_tokenizer", {{"type", "Sequence"}}, format, "pretokenizers");
  expect_error_at("/pre_tokenizer",
                  Json::parse(R"({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Removed"})"), format,
                  "pre_tokenizer.pattern.Regex");
  expect_error_at("/decoder", Json::parse(R"({"type": "Strip", "content": " ", "start": -1, "stop": 0})"), format,
                  "decoder.start");
  expect_error_at("/post_processor", Json::parse(R"({"type": "TemplateProcessing", "special_tokens": {},
    "single": [{"SpecialToken": {"id": "<x>"}}, {"Sequence": {"id": "A"}}]})"),
                  format, "<x>");
}

Json small_unigram() {
  return Json::parse(R"({"added_tokens": [{"id": 2, "content": "</s>", "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Strip", "strip_left": true, "strip_right": false}]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"},
      {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"}]},
    "decoder": {"type": "Metaspace", "replacement": "_"},
    "model": {"type": "Unigram", "unk_id": 0, "vocab": [["?", 0], ["_a", -1.5], ["</s>", 0], ["a", -2], ["_", -3]]}})");
}

void expect_unigram_error_at(const char* pointer, const Json& value, ErrorCode code, const std::string& mention) {
  auto json = small_unigram();
  json[Json::json_pointer(pointer)] = value;
  expect_error(json, code, mention);
}

TEST(TokenizerJson, UnigramModelsAreRead) {
  const auto tokenizer = build(small_unigram());
  EXPECT_EQ(tokenizer.encode("a aa</s>x"), (std::vector<TokenId>{1, 1, 3, 2, 4, 0}));
  EXPECT_EQ(tokenizer.encode("</s>", {.parse_special_tokens = false}), (std::vector<TokenId>{4, 0}));
  auto unnamed = small_unigram();
  unnamed["model"].erase("type");
  EXPECT_EQ(build(unnamed).encode("a"), std::vector<TokenId>{1});
}

TEST(TokenizerJson, DamagedUnigramValuesAreNamed) {
  const auto format = ErrorCode::format;
  expect_unigram_error_at("/model/vocab", Json::object(), format, "model.vocab");
  expect_unigram_error_at("/model/vocab", Json::array(), format, "0 pieces");
  for (const char* entry : {R"("a")", R"(["a"])", R"(["a", "b"])", R"([1, 2])", R"(["a", 1, 2])"}) {
    expect_unigram_error_at("/model/vocab/3", Json::parse(entry), format, "piece 3");
  }
  expect_unigram_error_at("/model/unk_id", 5, format, "model.unk_id");
  expect_unigram_error_at("/model/unk_id", -1, format, "model.unk_id");
  expect_unigram_error_at("/model/byte_fallback", 1, format, "model.byte_fallback");
  expect_unigram_error_at("/normalizer", {{"type", "Strip"}}, format, "strip_left");
  expect_unigram_error_at("/pre_tokenizer", {{"type", "ByteLevel"}}, ErrorCode::unsupported, "ByteLevel");
  const auto map = [](const char* bytes) { return Json{{"type", "Precompiled"}, {"precompiled_charsmap", bytes}}; };
  for (const char* bytes : {"", "abc", "ab=c", "a===", "====", "BAAAAA==", "!!!!"}) {
    expect_unigram_error_at("/normalizer", map(bytes), format, "normalizer.precompiled_charsmap");
  }
}

TEST(TokenizerJson, NestingIsLimited) {
  Json step = {{"type", "NFC"}};
  for (int i = 0; i < 20; ++i) step = {{"type", "Sequence"}, {"normalizers", Json::array({step})}};
  expect_error_at("/normalizer", step, ErrorCode::format, "nested");
}

TEST(TokenizerJson, AnEntryRepeatedWordForWordIsOne) {
  auto json = small();
  auto& tokens = json["added_tokens"];
  ASSERT_FALSE(tokens.empty());
  const auto expected = build(json).encode("ab <s>");
  tokens.push_back(tokens[0]);
  EXPECT_EQ(build(json).encode("ab <s>"), expected);
  tokens.back()["special"] = !tokens.back().value("special", false);
  EXPECT_THROW(build(json), Error);
}

class DamagedTokenizerJson : public ::testing::TestWithParam<bool> {};

TEST_P(DamagedTokenizerJson, TruncatedAndFlippedBytesNeverDoMoreThanThrow) {
  const auto bytes = (GetParam() ? small_unigram() : small()).dump();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_THROW(parse_tokenizer_json(bytes.substr(0, i), "t.json"), Error);
    for (const char c : {'\0', '"', '9', '\xFF', '}'}) {
      auto damaged = bytes;
      damaged[i] = c;
      try {
        Tokenizer(parse_tokenizer_json(damaged, "t.json"), "t.json").encode("ab 12 <s>");
      } catch (const Error&) {
      }
    }
  }
  EXPECT_THROW(parse_tokenizer_json(std::string(200000, '['), "t.json"), Error);
}

INSTANTIATE_TEST_SUITE_P(Models, DamagedTokenizerJson, ::testing::Bool());

class ModelFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("quiver_tokenizer_test_{}", getpid());
    fs::create_directories(folder_);
    write("tokenizer.json", small().dump());
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const char* name, const std::string& text) { write_file_atomically(folder_ / name, text); }
  std::shared_ptr<const Tokenizer> load() { return load_tokenizer(folder_).tokenizer; }

  fs::path folder_;
};

TEST_F(ModelFolder, GenerationConfigNamesTheEnds) {
  EXPECT_TRUE(load()->eos_ids().empty());
  write("tokenizer_config.json", R"({"bos_token": {"content": "<s>"}, "eos_token": "b"})");
  EXPECT_EQ(load()->bos_id(), 3);
  EXPECT_EQ(load()->eos_ids(), std::vector<TokenId>{1});
  EXPECT_TRUE(load()->is_special(1));
  write("config.json", R"({"eos_token_id": 0})");
  EXPECT_EQ(load()->eos_ids(), std::vector<TokenId>{0});
  write("generation_config.json", R"({"eos_token_id": [2, 1]})");
  EXPECT_EQ(load()->eos_ids(), (std::vector<TokenId>{1, 2})) << "the tokenizer's own end first";
  write("generation_config.json", R"({"eos_token_id": [2, 77]})");
  EXPECT_THROW(load(), Error);
}

TEST_F(ModelFolder, ConfiguredTokensAreAdded) {
  write("tokenizer_config.json", R"({"added_tokens_decoder": {"4": {"content": "<t>", "special": true}}})");
  EXPECT_EQ(load()->encode("<t>"), std::vector<TokenId>{4});
  write("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "<t>"}}})");
  EXPECT_THROW(load(), Error);
}

TEST_F(ModelFolder, TemplatesStandInThreePlaces) {
  EXPECT_FALSE(load_tokenizer(folder_).chat_template);
  write("chat_template.json", R"({"chat_template": "one"})");
  EXPECT_EQ(load_tokenizer(folder_).chat_template->source(), "one");
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "two"}]})");
  EXPECT_EQ(load_tokenizer(folder_).chat_template->source(), "two");
  write("chat_template.jinja", "three");
  EXPECT_EQ(load_tokenizer(folder_).chat_template->source(), "three");
}

TEST_F(ModelFolder, MissingFilesAreNamed) {
  fs::remove(folder_ / "tokenizer.json");
  try {
    load();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
  }
}

}  // namespace
}  // namespace quiver::text
