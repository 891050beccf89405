// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/chat_template.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver::text {
namespace {

const char kWithSystem[] = R"({% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %})"
                           "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
                           R"({{'<|im_start|>' + message['role'] + ')"
                           "\n"
                           R"(' + message['content'] + '<|im_end|>' + ')"
                           "\n"
                           R"('}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant)"
                           "\n"
                           R"(' }}{% endif %})";
const char kPlain[] =
    R"({%- for message in messages %}{{ "<|im_start|>" + message["role"] + "\n" + message["content"] + "<|im_end|>\n" }})"
    R"({% endfor %}{% if add_generation_prompt %}{{ "<|im_start|>assistant\n" }}{% endif %})";

const std::vector<Message> kUser = {{"user", "Hi"}};

TEST(ChatTemplate, AddsItsSystemMessageWhereThereIsNone) {
  const ChatTemplate chat(kWithSystem);
  EXPECT_EQ(chat.render(kUser),
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  const std::vector<Message> own = {{"system", "Be short."}, {"user", "Hi"}};
  EXPECT_EQ(chat.render(own, {.add_generation_prompt = false}),
            "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n");
  EXPECT_EQ(chat.render({}), "<|im_start|>assistant\n");
}

TEST(ChatTemplate, KnowsOtherSpellings) {
  std::string plain = kPlain;
  plain.replace(0, 3, "{%");
  const ChatTemplate chat(plain);
  ASSERT_TRUE(chat.recognized());
  EXPECT_EQ(chat.render(kUser), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, AnUnknownTemplateIsAnErrorWhenItIsUsed) {
  for (const std::string& source : {std::string("[INST] {{ messages }} [/INST]"), std::string(kPlain) + "{{ 'x' }}",
                                    std::string(), std::string(kWithSystem).insert(0, 1, ' ')}) {
    const ChatTemplate chat(source);
    EXPECT_FALSE(chat.recognized()) << source;
    try {
      chat.render(kUser);
      FAIL() << source;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
    }
  }
}

TEST(ChatTemplate, RefusesToolsThatItWouldDrop) {
  const ChatTemplate chat(kWithSystem);
  EXPECT_THROW(chat.render(kUser, {.tools_json = R"([{"type":"function"}])"}), Error);
  EXPECT_NO_THROW(chat.render(kUser, {.tools_json = "[]"}));
}

}  // namespace
}  // namespace quiver::text
