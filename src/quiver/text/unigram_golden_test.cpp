// SPDX-License-Identifier: Apache-2.0
// Ids and decoded texts equal those of `tokenizers`, `sentencepiece` and transformers
// (tools/goldens/unigram_golden.py).
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/files.h"
#include "quiver/text/load_tokenizer.h"
#include "quiver/text/stream_decoder.h"
#include "quiver/text/tokenizer_json.h"
#include "quiver/text/tokenizer_sentencepiece.h"

namespace quiver::text {
namespace {

using Json = nlohmann::json;

fs::path golden(const char* name) { return fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "unigram" / name; }
Json read_golden(const char* name) { return Json::parse(read_file(golden(name))); }

std::shared_ptr<const Tokenizer> build(const Json& json) {
  return std::make_shared<const Tokenizer>(parse_tokenizer_json(json.dump(), "golden"), "golden");
}

std::string stream(const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<TokenId>& ids) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  for (const auto id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

void expect_equal(const Tokenizer& tokenizer, const Json& texts, const Json& cases) {
  ASSERT_EQ(texts.size(), cases.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    const auto& expected = cases[i];
    const auto ids = expected["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer.encode(text), ids) << texts[i].dump(-1, ' ', true);
    EXPECT_EQ(tokenizer.encode(text, {.add_special_tokens = true}), expected.value("with_special", ids));
    const auto decoded = expected.value("decoded", text);
    EXPECT_EQ(tokenizer.decode(ids), decoded);
    EXPECT_EQ(tokenizer.decode(ids, {.skip_special_tokens = true}), expected.value("decoded_plain", decoded));
  }
}

TEST(UnigramGolden, TokenizerJsonEqualsTokenizers) {
  const auto tokenizer = build(read_golden("tokenizer.json"));
  const auto all = read_golden("cases.json");
  expect_equal(*tokenizer, all["texts"], all["json"]);
  for (const auto& expected : all["json"]) {
    const auto ids = expected["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(stream(tokenizer, ids), tokenizer->decode(ids));
  }
}

TEST(UnigramGolden, EveryComponentEqualsTokenizers) {
  const auto all = read_golden("variants.json");
  for (const auto& variant : all["variants"]) {
    SCOPED_TRACE(variant["name"].get<std::string>());
    auto json = all["base"];
    for (const auto& [name, value] : variant["parts"].items()) {
      (name == "byte_fallback" ? json["model"] : json)[name] = value;
    }
    expect_equal(*build(json), all["texts"], variant["cases"]);
  }
}

class SentencePieceGolden : public ::testing::TestWithParam<const char*> {};

TEST_P(SentencePieceGolden, PlainTextEqualsSentencePiece) {
  const auto file = std::string(GetParam()) + ".model";
  const Tokenizer tokenizer(parse_sentencepiece(read_file(golden(file.c_str())), file), file);
  const auto all = read_golden("cases.json");
  const auto& cases = all[GetParam()];
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto ids = cases[i]["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer.encode(all["texts"][i].get<std::string>(), {.parse_special_tokens = false}), ids)
        << all["texts"][i].dump(-1, ' ', true);
    if (cases[i].contains("decoded")) {
      EXPECT_EQ(tokenizer.decode(ids), cases[i]["decoded"]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SentencePieceGolden, ::testing::Values("spiece", "plain"),
                         [](const auto& name) { return std::string(name.param); });

TEST(UnigramGolden, SpieceModelInAFolderEqualsTransformers) {
  const auto folder = fs::temp_directory_path() / fmt::format("quiver_unigram_golden_{}", getpid());
  fs::create_directories(folder);
  fs::copy_file(golden("spiece.model"), folder / "spiece.model", fs::copy_options::overwrite_existing);
  write_file_atomically(folder / "tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer", "extra_ids": 20})");
  const auto tokenizer = load_tokenizer(folder).tokenizer;
  fs::remove_all(folder);
  const auto all = read_golden("cases.json");
  std::size_t compared = 0;
  for (std::size_t i = 0; i < all["texts"].size(); ++i) {
    const auto& expected = all["t5"][i];
    if (expected.is_null()) continue;  // transformers differs from sentencepiece, see the script
    ++compared;
    const auto ids = expected["ids"].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer->encode(all["texts"][i].get<std::string>(), {.add_special_tokens = true}), ids)
        << all["texts"][i].dump(-1, ' ', true);
    EXPECT_EQ(tokenizer->decode(ids), expected["decoded"]);
  }
  EXPECT_GE(compared + 3, all["texts"].size());
  EXPECT_EQ(tokenizer->token_id("<extra_id_0>"), static_cast<TokenId>(tokenizer->vocabulary_size()) - 1);
}

}  // namespace
}  // namespace quiver::text
