// SPDX-License-Identifier: Apache-2.0
// Damaged and unsupported SentencePiece models and character maps, and the files beside them.
#include "quiver/text/tokenizer_sentencepiece.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/base/files.h"
#include "quiver/text/load_tokenizer.h"
#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

// Writes the fields of a message.
class Message {
 public:
  Message& number(int field, std::uint64_t value) {
    varint(static_cast<std::uint64_t>(field) << 3);
    varint(value);
    return *this;
  }
  Message& text(int field, std::string_view value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& float32(int field, float value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 5);
    append_u32(bytes_, std::bit_cast<std::uint32_t>(value));
    return *this;
  }
  static void append_u32(std::string& out, std::uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(value >> shift & 0xFF);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

std::string piece(std::string_view text, float score, int type = 1) {
  return Message().text(1, text).float32(2, score).number(3, static_cast<std::uint64_t>(type)).bytes();
}

// A map that makes "B" of "b": the root's children stand at 1 ^ byte, the end of "b" at 256.
std::string character_map(std::string replacements = std::string("B\0", 2)) {
  std::vector<std::uint32_t> units(257, 0x80000001u);
  units[0] = 1u << 10;
  units[1 ^ 'b'] = 'b' | 1u << 8 | static_cast<std::uint32_t>(256 ^ 1 ^ 'b') << 10;
  units[256] = 0x80000000u;
  std::string bytes;
  Message::append_u32(bytes, static_cast<std::uint32_t>(units.size() * 4));
  for (const auto unit : units) Message::append_u32(bytes, unit);
  return bytes + replacements;
}

Message small_model() {
  Message model;
  model.text(1, piece("<pad>", 0, 3)).text(1, piece("</s>", 0, 3)).text(1, piece("<unk>", 0, 2));
  const std::string space(kMetaspace);
  model.text(1, piece(space, -2)).text(1, piece("a", -3)).text(1, piece(space + "aB", -3.5f));
  model.text(2, Message().number(3, 1).number(40, 2).bytes());
  model.text(3, Message().text(2, character_map()).bytes());
  return model;
}

Tokenizer build(const std::string& bytes) { return Tokenizer(parse_sentencepiece(bytes, "t.model"), "t.model"); }

void expect_error(const std::string& bytes, ErrorCode code, const std::string& mention) {
  try {
    build(bytes);
    FAIL() << mention;
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(error.code(), code) << message;
    EXPECT_NE(message.find("t.model"), std::string::npos) << message;
    EXPECT_NE(message.find(mention), std::string::npos) << message;
  }
}

TEST(SentencePieceModel, IsRead) {
  const auto tokenizer = build(small_model().bytes());
  EXPECT_EQ(tokenizer.encode("  ab   a "), (std::vector<TokenId>{5, 3, 4}));
  EXPECT_EQ(tokenizer.encode("ab</s>"), (std::vector<TokenId>{5, 1}));
  EXPECT_EQ(tokenizer.encode("</s>", {.parse_special_tokens = false}), (std::vector<TokenId>{3, 2}));
  EXPECT_EQ(tokenizer.decode(std::vector<TokenId>{5, 3, 4}), "aB a");
  EXPECT_EQ(tokenizer.eos_ids(), std::vector<TokenId>{1});
  EXPECT_FALSE(tokenizer.bos_id());
}

TEST(SentencePieceModel, SpacesFollowTheNormaliser) {
  const auto with = [](int field) { return build(small_model().text(3, Message().number(field, 0).bytes()).bytes()); };
  EXPECT_EQ(with(3).encode(" a a"), (std::vector<TokenId>{4, 3, 4}));
  EXPECT_EQ(with(4).encode(" a"), (std::vector<TokenId>{3, 3, 4}));
  EXPECT_EQ(with(5).encode("a"), (std::vector<TokenId>{2, 4}));
}

TEST(SentencePieceModel, OtherModelsAreNamed) {
  const auto with_trainer = [](Message trainer) { return small_model().text(2, trainer.bytes()).bytes(); };
  expect_error(with_trainer(Message().number(3, 2)), ErrorCode::unsupported, "BPE");
  expect_error(with_trainer(Message().number(3, 4)), ErrorCode::unsupported, "char");
  expect_error(with_trainer(Message().number(3, 9)), ErrorCode::format, "model type 9");
  expect_error(with_trainer(Message().number(24, 1)), ErrorCode::unsupported, "treat_whitespace_as_suffix");
  expect_error(small_model().text(5, Message().text(2, "x").bytes()).bytes(), ErrorCode::unsupported, "decoded");
}

TEST(SentencePieceModel, DamagedValuesAreNamed) {
  const auto format = ErrorCode::format;
  expect_error("", format, "without pieces");
  expect_error(Message().text(1, piece("a", -1)).bytes(), format, "no unknown piece");
  expect_error(small_model().text(1, piece("<unk2>", 0, 2)).bytes(), format, "two unknown");
  expect_error(small_model().text(1, piece("", 0)).bytes(), format, "piece 6");
  expect_error(small_model().text(1, piece("\xFF", 0)).bytes(), format, "piece 6");
  expect_error(small_model().text(1, piece("x", 0, 7)).bytes(), format, "piece type 7");
  expect_error(small_model().text(1, piece("x", std::numeric_limits<float>::infinity())).bytes(), format, "piece 6");
  expect_error(small_model().text(1, Message().number(1, 5).bytes()).bytes(), format, "field 1");
  expect_error(small_model().number(1, 5).bytes(), format, "wire type");
  expect_error(small_model().bytes() + "\x0B", format, "wire type 3");
  expect_error(small_model().bytes() + "\x0A\x7F" + "a", format, "127 bytes expected");
  expect_error(small_model().bytes() + "\x08" + std::string(12, '\xFF'), format, "varint");
  const auto with_map = [](const std::string& map) {
    return small_model().text(3, Message().text(2, map).bytes()).bytes();
  };
  expect_error(with_map("ab"), format, "precompiled_charsmap");
  expect_error(with_map(std::string(8, '\xFF')), format, "cannot hold");
  expect_error(with_map(character_map("")), format, "replacements");
  expect_error(with_map(character_map("\xFF")), format, "not UTF-8");
}

TEST(SentencePieceModel, TruncatedAndFlippedBytesNeverDoMoreThanThrow) {
  const auto bytes = small_model().bytes();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const char c : {'\0', '\x01', '\x7F', '\xFF', '\n'}) {
      auto damaged = bytes;
      damaged[i] = c;
      for (const auto& input : {damaged, bytes.substr(0, i)}) {
        try {
          build(input).encode("ab 12 a\xCC\x81 </s>b");
        } catch (const Error&) {
        }
      }
    }
  }
}

class T5Folder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("quiver_sentencepiece_test_{}", getpid());
    fs::create_directories(folder_);
    write("spiece.model", small_model().bytes());
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const char* name, const std::string& text) { write_file_atomically(folder_ / name, text); }
  std::shared_ptr<const Tokenizer> load() { return load_tokenizer(folder_).tokenizer; }

  fs::path folder_;
};

TEST_F(T5Folder, SentinelsFollowThePieces) {
  const auto tokenizer = load();
  EXPECT_EQ(tokenizer->vocabulary_size(), 106u);
  EXPECT_EQ(tokenizer->token_id("<extra_id_0>"), 105);
  EXPECT_EQ(tokenizer->token_id("<extra_id_99>"), 6);
  EXPECT_EQ(tokenizer->encode("a <extra_id_0> a", {.add_special_tokens = true}),
            (std::vector<TokenId>{3, 4, 105, 3, 4, 1}));
  write("tokenizer_config.json", R"({"extra_ids": 2})");
  EXPECT_EQ(load()->token_id("<extra_id_1>"), 6);
  write("tokenizer_config.json", "{}");
  write("config.json", R"({"vocab_size": 105, "model_type": "mt5", "eos_token_id": 1})");
  EXPECT_EQ(load()->vocabulary_size(), 6u);
}

TEST_F(T5Folder, OtherTokenizersAreRefused) {
  const auto expect_unsupported = [&](const std::string& mention) {
    try {
      load();
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      EXPECT_NE(std::string(error.what()).find(mention), std::string::npos) << error.what();
    }
  };
  write("config.json", R"({"model_type": "xlnet"})");
  expect_unsupported("xlnet");
  write("tokenizer_config.json", R"({"tokenizer_class": "XLMRobertaTokenizer"})");
  expect_unsupported("XLMRobertaTokenizer");
}

TEST_F(T5Folder, TokenizerJsonComesFirst) {
  write("tokenizer.json", R"({"model": {"unk_id": 0, "vocab": [["?", 0], ["a", -1]]},
                              "decoder": {"type": "Metaspace", "replacement": "_"}})");
  EXPECT_EQ(load()->vocabulary_size(), 2u);
}

}  // namespace
}  // namespace quiver::text
