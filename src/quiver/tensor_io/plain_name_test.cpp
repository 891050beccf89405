// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/plain_name.h"

#include <gtest/gtest.h>

#include <string>

namespace quiver::tensor_io {
namespace {

TEST(PlainName, Utf8FollowsTheStandard) {
  for (const char* text : {"", "abc", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(is_utf8(text)) << text;
  }
}

TEST(PlainName, BrokenUtf8IsSeen) {
  for (const char* text : {"\x80",
                           "\xBF"
                           "a",
                           "\xC0\x80", "\xC1\xBF", "\xC2",
                           "\xC2"
                           "a",
                           "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x8F\xBF\xBF",
                           "\xF0\x90\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_FALSE(is_utf8(text)) << text;
  }
}

TEST(PlainName, OneShortLine) {
  EXPECT_TRUE(is_plain_name("model.layers.0.mlp.weight"));
  EXPECT_TRUE(is_plain_name(""));
  EXPECT_TRUE(is_plain_name(std::string(1000, 'a')));
  EXPECT_FALSE(is_plain_name(std::string(1001, 'a')));
  EXPECT_FALSE(is_plain_name("a\nb"));
  EXPECT_FALSE(is_plain_name("\x1B[2J"));
  EXPECT_FALSE(is_plain_name("\x7F"));
  EXPECT_FALSE(is_plain_name(std::string("a\0b", 3)));
  EXPECT_FALSE(is_plain_name("\xFF"));
}

}  // namespace
}  // namespace quiver::tensor_io
