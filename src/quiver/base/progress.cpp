// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace quiver {
namespace {

constexpr double kFirstDraw_s = 1.0, kTerminalInterval_s = 0.2, kPlainInterval_s = 10.0;
constexpr int kBarWidth = 24;

double seconds_between(std::chrono::steady_clock::time_point a, std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

/// A line longer than the terminal would wrap, and could not be redrawn.
int terminal_columns() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col - 1 : 79;
}

}  // namespace

std::string format_duration(double seconds) {
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  const long whole = std::lround(seconds);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

TerminalProgress::TerminalProgress() : terminal_(isatty(STDERR_FILENO) == 1) {}
TerminalProgress::~TerminalProgress() { finish(); }

void TerminalProgress::update(const std::string& what, std::uint64_t done, std::uint64_t total,
                              const std::string& note) {
  const auto now = Clock::now();
  if (what != what_) {
    finish();
    what_ = what;
    started_ = drawn_ = now;
    first_done_ = done;
  }
  done_ = done;
  total_ = total;
  note_ = note;
  const double elapsed = seconds_between(started_, now);
  const double interval = terminal_ ? kTerminalInterval_s : kPlainInterval_s;
  if (elapsed < kFirstDraw_s || (visible_ && seconds_between(drawn_, now) < interval)) return;
  drawn_ = now;
  draw(elapsed);
}

void TerminalProgress::draw(double elapsed_s) {
  visible_ = true;
  const double share = total_ ? static_cast<double>(done_) / static_cast<double>(total_) : 0.0;
  const auto advanced = static_cast<double>(done_ - std::min(first_done_, done_));
  const std::string left = advanced > 0 && done_ < total_
                               ? format_duration(elapsed_s / advanced * static_cast<double>(total_ - done_)) + " left"
                               : format_duration(elapsed_s);
  std::string bar;
  for (int i = 0; i < kBarWidth; ++i) bar += i < share * kBarWidth ? '#' : '.';
  const auto line = fmt::format("{} [{}] {}/{} {} {}", what_, bar, done_, total_, left, note_);
  if (terminal_) {
    std::fprintf(stderr, "\r\033[2K%.*s", terminal_columns(), line.c_str());
  } else {
    std::fprintf(stderr, "%s\n", line.c_str());
  }
  std::fflush(stderr);
}

void TerminalProgress::finish() {
  if (visible_) {
    draw(seconds_between(started_, Clock::now()));
    if (terminal_) std::fputc('\n', stderr);
  }
  visible_ = false;
  what_.clear();
}

void TerminalProgress::say(const std::string& line) {
  if (visible_ && terminal_) std::fprintf(stderr, "\r\033[2K");
  std::fprintf(stderr, "%s\n", line.c_str());
  std::fflush(stderr);
}

}  // namespace quiver
