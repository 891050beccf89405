// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/error.h"

#include <gtest/gtest.h>

namespace quiver {
namespace {

TEST(Error, CarriesItsCodeAndWhere) {
  try {
    fail(ErrorCode::mismatch, "q_proj", "expected rank {}, got {}", 8, 16);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::mismatch);
    EXPECT_STREQ(error.what(), "[q_proj] expected rank 8, got 16");
  }
}

TEST(Error, IsARuntimeError) { EXPECT_THROW(fail(ErrorCode::io, "file", "refused"), std::runtime_error); }

TEST(Check, ThrowsOnlyWhereTheConditionIsFalse) {
  EXPECT_NO_THROW(QUIVER_CHECK(1 + 1 == 2, usage, "sum", "unused {}", 1));
  EXPECT_THROW(QUIVER_CHECK(1 + 1 == 3, usage, "sum", "expected 3, got {}", 2), Error);
}

TEST(Check, EvaluatesItsArgumentsOnlyOnFailure) {
  int evaluated = 0;
  QUIVER_CHECK(true, usage, "once", "{}", ++evaluated);
  EXPECT_EQ(evaluated, 0);
}

TEST(Check, IsOneStatement) {
  bool other = false;
  if (false)
    QUIVER_CHECK(false, usage, "branch", "not reached");
  else
    other = true;
  EXPECT_TRUE(other);
}

TEST(Error, BracesInValuesAreNotFormatted) {
  try {
    fail(ErrorCode::format, "{file}", "got {}", "{name}");
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "[{file}] got {name}");
  }
}

}  // namespace
}  // namespace quiver
