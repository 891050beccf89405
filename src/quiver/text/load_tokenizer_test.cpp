// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/load_tokenizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "quiver/base/error.h"

namespace quiver::text {
namespace {

// Writes the entries of a GGUF file (version 3, no tensors).
class GgufWriter {
 public:
  void text(const char* key, const std::string& value) {
    begin(key, 8);
    put_text(value);
  }
  void texts(const char* key, const std::vector<std::string>& values) {
    begin(key, 9);
    put<std::uint32_t>(8);
    put<std::uint64_t>(values.size());
    for (const auto& value : values) put_text(value);
  }
  void number(const char* key, std::uint32_t value) {
    begin(key, 4);
    put(value);
  }
  std::string bytes() const {
    GgufWriter head;
    head.out_ = "GGUF";
    head.put<std::uint32_t>(3);
    head.put<std::uint64_t>(0);
    head.put<std::uint64_t>(entries_);
    return head.out_ + out_ + std::string(64, '\0');
  }

 private:
  template <typename T>
  void put(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void put_text(const std::string& value) {
    put<std::uint64_t>(value.size());
    out_ += value;
  }
  void begin(const char* key, std::uint32_t type) {
    ++entries_;
    put_text(key);
    put(type);
  }

  std::string out_;
  std::uint64_t entries_ = 0;
};

TEST(LoadTokenizer, ReadsAGgufFile) {
  GgufWriter writer;
  writer.text("general.architecture", "llama");
  writer.text("tokenizer.ggml.model", "gpt2");
  writer.text("tokenizer.ggml.pre", "gpt-2");
  writer.texts("tokenizer.ggml.tokens", {"a", "b", "ab"});
  writer.texts("tokenizer.ggml.merges", {"a b"});
  writer.number("tokenizer.ggml.eos_token_id", 1);
  writer.text("tokenizer.chat_template", "unknown");
  const auto path = fs::temp_directory_path() / fmt::format("quiver_load_tokenizer_{}.gguf", getpid());
  write_file_atomically(path, writer.bytes());
  const auto loaded = load_tokenizer(path);
  fs::remove(path);
  EXPECT_EQ(loaded.tokenizer->encode("abb"), (std::vector<TokenId>{2, 1}));
  EXPECT_TRUE(loaded.tokenizer->is_eos(1));
  ASSERT_TRUE(loaded.chat_template);
  EXPECT_FALSE(loaded.chat_template->recognized());
}

TEST(LoadTokenizer, AMissingFileIsNotFound) {
  for (const char* path : {"/nonexistent/model.gguf", "/nonexistent/folder"}) {
    try {
      load_tokenizer(path);
      FAIL() << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::not_found) << error.what();
    }
  }
}

}  // namespace
}  // namespace quiver::text
