// SPDX-License-Identifier: Apache-2.0
// Regular expressions out of files, run by PCRE2 (UTF, Unicode properties, JIT where there is one): as tokenizers write
// them, and as Python programs do.
//
// Tokenizers' files are written for Oniguruma with Ruby's syntax. Where PCRE2 reads the same text differently the
// pattern is rewritten (`\s` is exactly White_Space, `^` and `$` match at line ends), or refused with
// Error{unsupported}. A Regex is immutable and may be used by many threads at once, each with its own MatchScratch.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace quiver::text {

struct Match {
  std::size_t begin, end;
};

/// Working memory of matching; belongs to one thread, serves any number of Regex objects.
class MatchScratch {
 public:
  MatchScratch();
  ~MatchScratch();
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

 private:
  friend class Regex;
  void* data_;
};

class Regex {
 public:
  /// Throws Error{format} for a pattern that does not compile, Error{unsupported} for syntax that would mean something
  /// else in PCRE2. `where` names the pattern in the message.
  static Regex compile(const std::string& pattern, const std::string& where);
  /// Matches exactly `text` (not empty).
  static Regex literal(const std::string& text, const std::string& where);

  /// As Python's `re` writes them, for full_match alone. Syntax that Python does not have is Error{unsupported}.
  /// Matching takes few steps: what needs more of them than a name of some hundred letters should is an error.
  static Regex python(const std::string& pattern, const std::string& where);

  /// True where the whole of `text` matches, as re.fullmatch does. Throws Error{format} where the text is not UTF-8 or
  /// the pattern exceeds the limits on it.
  bool full_match(std::string_view text, MatchScratch& scratch) const;

  /// The first match in `text` (valid UTF-8) at or after `from` that is not empty. Throws Error{format} when the
  /// pattern exceeds PCRE2's limits on this text.
  std::optional<Match> find(std::string_view text, std::size_t from, MatchScratch& scratch) const;

 private:
  struct Code;
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  std::shared_ptr<const Code> code_;
};

}  // namespace quiver::text
