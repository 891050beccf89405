// SPDX-License-Identifier: Apache-2.0
// `quiver tokenize` as a user meets it: ids that there are not and chats that are not as they should be are refused.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "quiver/model/test_small_model.h"

namespace quiver {
namespace {

using nlohmann::json;

class TokenizeVerb : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    model::write_small_model(folder_ / "model");
    const std::string chatml =
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    write_file_atomically(folder_ / "model/tokenizer_config.json", json{{"chat_template", chatml}}.dump());
  }
  void TearDown() override { fs::remove_all(folder_); }

  /// What is printed, or the error.
  std::string tokenize(const std::string& more, int status) const {
    const auto errors = (folder_ / "errors.txt").string();
    const auto command = std::string(QUIVER_BINARY) + " tokenize --json --model " + (folder_ / "model").string() + " " +
                         more + " 2>" + errors;
    FILE* pipe = popen(command.c_str(), "r");
    std::string text;
    std::array<char, 4096> buffer;
    while (const auto n = fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), n);
    const auto got = WEXITSTATUS(pclose(pipe));
    EXPECT_EQ(got, status) << more << ": " << text << read_file(errors);
    return got == 0 ? text : read_file(errors);
  }
  std::string chat(const std::string& request, int status) const {
    write_file_atomically(folder_ / "chat.json", request);
    return tokenize("--chat " + (folder_ / "chat.json").string(), status);
  }
  void expect_refused(const std::string& part, const std::string& error) const {
    EXPECT_NE(error.find(part), std::string::npos) << "expected '" << part << "' in: " << error;
  }

  const fs::path folder_ = fs::temp_directory_path() / ("quiver_tokenize_verb_" + std::to_string(getpid()));
};

TEST_F(TokenizeVerb, IdsAreThoseThatAreGiven) {
  const auto ids = json::parse(tokenize("--text 'red 3'", 0))["ids"].dump();
  EXPECT_EQ(json::parse(tokenize("--decode --text '" + ids + "'", 0))["text"], "red 3");
  for (const auto* list : {"[4294967361]", "[-1]", "[99999999999999999999]", "[1.5]", "[true]", "[\"a\"]"})
    expect_refused("expected a JSON list of ids from 0", tokenize(std::string("--decode --text '") + list + "'", 1));
  expect_refused("expected a JSON list of ids, came object", tokenize("--decode --text '{}'", 1));
  expect_refused("id 99999999 is outside the tokenizer's vocabulary", tokenize("--decode --text '[1, 99999999]'", 1));
  expect_refused("expected a file, this is a folder", tokenize("--file " + folder_.string(), 1));
  write_file_atomically(folder_ / "latin.txt", "caf\xe9\n");
  expect_refused("expected UTF-8", tokenize("--file " + (folder_ / "latin.txt").string(), 1));
  write_file_atomically(folder_ / "deep.txt", std::string(2000000, '[') + "\n");
  expect_refused("nested at most", tokenize("--decode --file " + (folder_ / "deep.txt").string(), 1));
  expect_refused("--special", tokenize("--decode --special --text '[1]'", 2));
}

TEST_F(TokenizeVerb, ChatsAreReadWhole) {
  const std::string turns = R"("messages": [{"role": "user", "content": "Hi"}])";
  const auto plain = json::parse(chat("{" + turns + "}", 0))["text"].get<std::string>();
  EXPECT_EQ(plain, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(
      json::parse(chat("{" + turns + R"(, "tools": [], "documents": null, "add_generation_prompt": true})", 0))["text"],
      plain);
  EXPECT_EQ(json::parse(chat("{" + turns + R"(, "add_generation_prompt": false})", 0))["text"],
            "<|im_start|>user\nHi<|im_end|>\n");
  expect_refused("tools were given", chat("{" + turns + R"(, "tools": [{"type": "function"}]})", 1));
  expect_refused("documents were given", chat("{" + turns + R"(, "documents": [{"text": "a"}]})", 1));
  expect_refused("expected true or false", chat("{" + turns + R"(, "add_generation_prompt": "no"})", 1));
  expect_refused("key 'tools': expected a list", chat("{" + turns + R"(, "tools": {}})", 1));
  expect_refused("did you mean 'add_generation_prompt'", chat("{" + turns + R"(, "add_generation_promt": true})", 1));
  expect_refused("unknown key 'tool_calls'",
                 chat(R"({"messages": [{"role": "assistant", "content": "", "tool_calls": []}]})", 1));
  expect_refused("nested at most", chat(std::string(100000, '['), 1));
  for (const auto* option : {"--decode", "--special", "--plain"})
    expect_refused(option, tokenize(std::string("--chat chat.json ") + option, 2));
}

}  // namespace
}  // namespace quiver
