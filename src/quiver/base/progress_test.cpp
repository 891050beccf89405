// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>

namespace quiver {
namespace {

using std::chrono::milliseconds;

TEST(FormatDuration, PicksTheUnit) {
  EXPECT_EQ(format_duration(0), "0.0 s");
  EXPECT_EQ(format_duration(1.44), "1.4 s");
  EXPECT_EQ(format_duration(200), "3 min 20 s");
  EXPECT_EQ(format_duration(7500), "2 h 5 min");
}

TEST(FormatDuration, RoundsUpIntoTheNextUnit) {
  EXPECT_EQ(format_duration(59.9), "59.9 s");
  EXPECT_EQ(format_duration(59.96), "1 min 0 s");
  EXPECT_EQ(format_duration(3599.6), "1 h 0 min");
}

// Standard error is a file while it is captured, so these see the plain lines that logs get.
TEST(TerminalProgress, ShortWorkDrawsNothing) {
  testing::internal::CaptureStderr();
  {
    TerminalProgress progress;
    for (std::uint64_t i = 0; i <= 10; ++i) progress.update("training", i, 10, "");
    progress.finish();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(TerminalProgress, LongWorkDrawsOneLineAndCompletesIt) {
  testing::internal::CaptureStderr();
  {
    TerminalProgress progress;
    progress.update("training", 100, 200, "");
    std::this_thread::sleep_for(milliseconds(1050));
    progress.update("training", 150, 200, "loss 2.5");
    progress.update("training", 151, 200, "loss 2.4");
    progress.update("training", 200, 200, "loss 2.3");
    progress.finish();
    progress.finish();
  }
  const std::string drawn = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(drawn.begin(), drawn.end(), '\n'), 2) << drawn;
  EXPECT_NE(drawn.find("training [##################......] 150/200 1."), std::string::npos) << drawn;
  EXPECT_NE(drawn.find(" left loss 2.5\n"), std::string::npos) << drawn;
  EXPECT_NE(drawn.find("200/200"), std::string::npos) << drawn;
  EXPECT_EQ(drawn.find('\r'), std::string::npos) << "a log gets no control characters";
}

TEST(TerminalProgress, AnUnknownTotalAndGoingBackAreDrawnToo) {
  testing::internal::CaptureStderr();
  {
    TerminalProgress progress;
    progress.update("reading", 5, 0, "");
    std::this_thread::sleep_for(milliseconds(1050));
    progress.update("reading", 3, 0, "");
  }
  const std::string drawn = testing::internal::GetCapturedStderr();
  EXPECT_NE(drawn.find("reading [........................] 3/0 1."), std::string::npos) << drawn;
  EXPECT_EQ(drawn.find("left"), std::string::npos) << drawn;
}

TEST(SilentProgress, TakesReports) {
  SilentProgress progress;
  progress.update("training", 1, 2, "");
  progress.finish();
}

}  // namespace
}  // namespace quiver
