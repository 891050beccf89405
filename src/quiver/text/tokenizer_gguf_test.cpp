// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/tokenizer_gguf.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver::text {
namespace {

using Strings = std::vector<std::string>;
using Numbers = std::vector<std::int64_t>;

const std::string kSpace = "\xC4\xA0";  // a space in the byte alphabet

GgufMetadata small() {
  return {{"tokenizer.ggml.model", std::string("gpt2")},
          {"tokenizer.ggml.pre", std::string("smollm")},
          {"tokenizer.ggml.tokens", Strings{"<s>", "</s>", "<tool>", "1", "2", "12", kSpace, kSpace + kSpace, "a"}},
          {"tokenizer.ggml.token_type", Numbers{3, 3, 4, 1, 1, 1, 1, 1, 1}},
          {"tokenizer.ggml.merges", Strings{"1 2", kSpace + " " + kSpace}},
          {"tokenizer.ggml.bos_token_id", std::int64_t{0}},
          {"tokenizer.ggml.eos_token_id", std::int64_t{1}},
          {"tokenizer.chat_template", std::string("x")}};
}

Tokenizer build(const GgufMetadata& metadata) { return Tokenizer(read_tokenizer_gguf(metadata, "m.gguf"), "m.gguf"); }

TEST(TokenizerGguf, SmollmPartsDigits) {
  const auto tokenizer = build(small());
  EXPECT_EQ(tokenizer.encode("a  12<tool></s>"), (std::vector<TokenId>{8, 7, 3, 4, 2, 1}));
  EXPECT_EQ(tokenizer.encode("a", {.add_special_tokens = true}), std::vector<TokenId>{8});
  EXPECT_EQ(tokenizer.bos_id(), 0);
  EXPECT_EQ(tokenizer.eos_ids(), std::vector<TokenId>{1});
  EXPECT_TRUE(tokenizer.is_special(0));
  EXPECT_FALSE(tokenizer.is_special(2));
  EXPECT_EQ(chat_template_gguf(small(), "m.gguf"), "x");
}

TEST(TokenizerGguf, TheNameDecidesThePattern) {
  auto metadata = small();
  metadata["tokenizer.ggml.pre"] = std::string("gpt-2");
  EXPECT_EQ(build(metadata).encode("a  12"), (std::vector<TokenId>{8, 6, 6, 5}));
  metadata["tokenizer.ggml.pre"] = std::string("llama-bpe");
  EXPECT_EQ(build(metadata).encode("a", {.add_special_tokens = true}), (std::vector<TokenId>{0, 8}));
  for (const char* name : {"qwen2", "gpt-4o", "default", "starcoder"}) {
    metadata["tokenizer.ggml.pre"] = std::string(name);
    EXPECT_EQ(build(metadata).encode("aa"), (std::vector<TokenId>{8, 8})) << name;
  }
}

TEST(TokenizerGguf, AsksForBosAndEosAreHonoured) {
  auto metadata = small();
  metadata["tokenizer.ggml.add_bos_token"] = true;
  metadata["tokenizer.ggml.add_eos_token"] = true;
  EXPECT_EQ(build(metadata).encode("a", {.add_special_tokens = true}), (std::vector<TokenId>{0, 8, 1}));
}

TEST(TokenizerGguf, EndsOfTurnsOutsideTheVocabularyArePassedOver) {
  auto metadata = small();
  metadata["tokenizer.ggml.eot_token_id"] = std::int64_t{2};
  metadata["tokenizer.ggml.eom_token_id"] = std::int64_t{9};
  EXPECT_EQ(build(metadata).eos_ids(), (std::vector<TokenId>{1, 2}));
  metadata["tokenizer.ggml.eot_token_id"] = std::int64_t{-1};
  EXPECT_EQ(build(metadata).eos_ids(), std::vector<TokenId>{1});
}

TEST(TokenizerGguf, TheEndOfATurnIsKnownByItsTextWhereNoKeyNamesIt) {
  auto metadata = small();
  metadata["tokenizer.ggml.tokens"] =
      Strings{"<s>", "</s>", "<end_of_turn>", "1", "2", "12", kSpace, kSpace + kSpace, "a"};
  EXPECT_EQ(build(metadata).eos_ids(), std::vector<TokenId>{1});  // the user's own token
  metadata["tokenizer.ggml.token_type"] = Numbers{3, 3, 3, 1, 1, 1, 1, 1, 1};
  EXPECT_EQ(build(metadata).eos_ids(), (std::vector<TokenId>{1, 2}));
  metadata["tokenizer.ggml.eot_token_id"] = std::int64_t{0};
  EXPECT_EQ(build(metadata).eos_ids(), (std::vector<TokenId>{1, 0}));
}

TEST(TokenizerGguf, DamagedMetadataIsAnErrorThatNamesTheKey) {
  const auto expect = [](const char* key, const GgufMetadata::mapped_type& value, ErrorCode code) {
    auto metadata = small();
    metadata[key] = value;
    try {
      build(metadata);
      FAIL() << key;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_NE(std::string(error.what()).find(key), std::string::npos) << error.what();
    }
  };
  expect("tokenizer.ggml.model", std::string("llama"), ErrorCode::unsupported);
  expect("tokenizer.ggml.pre", std::string("smolm"), ErrorCode::unsupported);
  expect("tokenizer.ggml.tokens", Numbers{1}, ErrorCode::format);
  expect("tokenizer.ggml.tokens", Strings{"\xFF"}, ErrorCode::format);
  expect("tokenizer.ggml.token_type", Numbers{1}, ErrorCode::format);
  expect("tokenizer.ggml.merges", Strings{"12"}, ErrorCode::format);
  expect("tokenizer.ggml.bos_token_id", std::int64_t{9}, ErrorCode::format);
  expect("tokenizer.ggml.eos_token_id", std::int64_t{-1}, ErrorCode::format);
  expect("tokenizer.ggml.add_space_prefix", true, ErrorCode::unsupported);
  for (const char* key : {"tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.merges"}) {
    auto metadata = small();
    metadata.erase(key);
    EXPECT_THROW(build(metadata), Error) << key;
  }
}

}  // namespace
}  // namespace quiver::text
