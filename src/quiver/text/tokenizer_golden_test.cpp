// SPDX-License-Identifier: Apache-2.0
// Ids and decoded texts equal those of Hugging Face's tokenizers (tools/goldens/tokenizer_golden.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "quiver/base/files.h"
#include "quiver/text/stream_decoder.h"
#include "quiver/text/tokenizer_json.h"

namespace quiver::text {
namespace {

using Json = nlohmann::json;

Json read_golden(const char* name) {
  return Json::parse(read_file(fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / name));
}

std::shared_ptr<const Tokenizer> build(const Json& json) {
  return std::make_shared<const Tokenizer>(parse_tokenizer_json(json.dump(), "golden"), "golden");
}

std::string stream(const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<TokenId>& ids) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const auto id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

void expect_equal(const std::shared_ptr<const Tokenizer>& tokenizer, const Json& texts, const Json& cases) {
  ASSERT_EQ(texts.size(), cases.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    const auto& expected = cases[i];
    const auto ids = expected["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer->encode(text), ids) << texts[i].dump(-1, ' ', true);
    EXPECT_EQ(tokenizer->encode(text, {.add_special_tokens = true}), expected.value("with_special", ids));
    const auto decoded = expected.value("decoded", text);
    EXPECT_EQ(tokenizer->decode(ids), decoded);
    EXPECT_EQ(tokenizer->decode(ids, {.skip_special_tokens = true}), expected.value("decoded_plain", decoded));
  }
}

TEST(TokenizerGolden, TrainedTokenizerEqualsHuggingFace) {
  const auto golden = read_golden("tokenizer_cases.json");
  const auto tokenizer = build(read_golden("tokenizer.json"));
  expect_equal(tokenizer, golden["texts"], golden["cases"]);
  for (const auto& expected : golden["cases"]) {
    const auto ids = expected["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(stream(tokenizer, ids), tokenizer->decode(ids));
  }
}

TEST(TokenizerGolden, EveryComponentEqualsHuggingFace) {
  const auto golden = read_golden("tokenizer_variants.json");
  for (const auto& variant : golden["variants"]) {
    SCOPED_TRACE(variant["name"].get<std::string>());
    auto json = golden["bases"][variant["base"].get<std::string>()];
    for (const auto& [name, value] : variant["parts"].items()) {
      const bool of_model = name == "ignore_merges" || name == "byte_fallback" || name == "fuse_unk";
      (of_model ? json["model"] : json)[name] = value;
    }
    expect_equal(build(json), golden["texts"], variant["cases"]);
  }
}

}  // namespace
}  // namespace quiver::text
