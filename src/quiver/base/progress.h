// SPDX-License-Identifier: Apache-2.0
// Progress of work that may last longer than two seconds, and what its user should know of it, on standard error.
//
// The library reports through a Progress that the caller hands in; only the command line makes one that draws. A
// terminal gets one line that is redrawn; anything else gets a plain line every ten seconds. Nothing is drawn before
// one second has passed. Not thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace quiver {

class Progress {
 public:
  virtual ~Progress() = default;
  /// `done` of `total` units of `what` are finished; `note` is a short free text (loss, speed).
  virtual void update(const std::string& what, std::uint64_t done, std::uint64_t total, const std::string& note) = 0;
  /// The work named last is over; its line is completed.
  virtual void finish() = 0;
  /// One line that the user should read whatever becomes of the work: rows that were cut, experts that were left out.
  virtual void say(const std::string& line) = 0;
};

/// Reports nothing.
class SilentProgress : public Progress {
 public:
  void update(const std::string&, std::uint64_t, std::uint64_t, const std::string&) override {}
  void finish() override {}
  void say(const std::string&) override {}
};

class TerminalProgress : public Progress {
 public:
  TerminalProgress();
  ~TerminalProgress() override;
  void update(const std::string& what, std::uint64_t done, std::uint64_t total, const std::string& note) override;
  void finish() override;
  void say(const std::string& line) override;

 private:
  void draw(double elapsed_s);

  using Clock = std::chrono::steady_clock;
  bool terminal_;
  std::string what_, note_;
  std::uint64_t done_ = 0, total_ = 0, first_done_ = 0;
  Clock::time_point started_, drawn_;
  bool visible_ = false;
};

/// `1.4 s`, `3 min 20 s`, `2 h 5 min`.
std::string format_duration(double seconds);

}  // namespace quiver
