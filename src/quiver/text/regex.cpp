// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "quiver/base/error.h"

namespace quiver::text {
namespace {

constexpr std::size_t kMaxPatternBytes = 1 << 16;

// White_Space and its complement as ranges: PCRE2's own \s also takes U+180E, and \p{White_Space} needs PCRE2 10.40.
constexpr std::string_view kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpace =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kWord = R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc})";

// Rewrites Oniguruma's Ruby syntax for PCRE2.
class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape();
      } else if (c == '[') {
        open_class();
      } else {
        plain(c);
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorCode::unsupported, where_, "the pattern uses {}, which is not supported", what);
  }

  void open_class() {
    if (in_class_) {
      if (pattern_.substr(at_, 2) != "[:") refuse("a class inside a class");
      copy_through(":]");
      return;
    }
    in_class_ = true;
    copy(pattern_.substr(at_, 2) == "[^" ? 2 : 1);
    if (at_ < pattern_.size() && pattern_[at_] == ']') copy(1);
  }

  void plain(char c) {
    if (in_class_) {
      if (c == ']') in_class_ = false;
      if (pattern_.substr(at_, 2) == "&&") refuse("an intersection of classes");
    } else if (pattern_.substr(at_, 2) == "}+") {
      refuse("'+' after an interval");  // repeats the interval in Ruby, is possessive in PCRE2
    } else if (pattern_.substr(at_, 2) == "(?") {
      check_group();
    }
    copy(1);
  }

  // In Ruby the option m lets '.' match line ends, in PCRE2 it is another one.
  void check_group() const {
    for (std::size_t i = at_ + 2; i < pattern_.size(); ++i) {
      const char c = pattern_[i];
      if (c == 'm') refuse("the option 'm'");
      if (c != 'i' && c != 'x' && c != '-') return;
    }
  }

  void escape() {
    QUIVER_CHECK(at_ + 1 < pattern_.size(), format, where_, "the pattern ends in a backslash");
    const char c = pattern_[at_ + 1];
    if (c == 's' || c == 'S' || c == 'w' || c == 'W') {
      property(c);
    } else if ((c == 'p' || c == 'P') && pattern_.substr(at_ + 2, 1) == "{") {
      copy_through("}");
    } else if (c == 'x' && pattern_.substr(at_ + 2, 1) == "{") {
      copy_through("}");
    } else if (c == 'u') {
      QUIVER_CHECK(at_ + 6 <= pattern_.size(), format, where_, "an unfinished \\u in the pattern");
      out_ += fmt::format("\\x{{{}}}", pattern_.substr(at_ + 2, 4));
      at_ += 6;
    } else if (std::string_view("hHGKXQEgk").find(c) != std::string_view::npos) {
      refuse(fmt::format("\\{}", c));
    } else {
      copy(2);
    }
  }

  void property(char c) {
    at_ += 2;
    if (in_class_) {
      if (c == 'W') refuse("\\W inside a class");
      out_ += c == 's' ? kSpace : c == 'S' ? kNotSpace : kWord;
    } else {
      const bool negated = c == 'S' || c == 'W';
      out_ += fmt::format("[{}{}]", negated ? "^" : "", c == 's' || c == 'S' ? kSpace : kWord);
    }
  }

  void copy(std::size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
  }

  void copy_through(std::string_view end) {
    const auto found = pattern_.find(end, at_);
    QUIVER_CHECK(found != std::string_view::npos, format, where_, "an unfinished escape or class in the pattern");
    copy(found + end.size() - at_);
  }

  std::string_view pattern_;
  const std::string& where_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_class_ = false;
};

constexpr std::uint32_t kPythonSteps = 20000;

/// Refuses what PCRE2 reads otherwise than Python's `re`, or Python does not know.
void check_python(std::string_view pattern, const std::string& where) {
  const auto refuse = [&](std::string_view what) {
    fail(ErrorCode::unsupported, where, "the pattern '{}' uses '{}', which is not supported", pattern, what);
  };
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const auto next = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (pattern[i] == '\\') {
      if (std::string_view("KQERXNhHgkGCz").find(next) != std::string_view::npos) refuse(pattern.substr(i, 2));
      ++i;
    } else if (in_class) {
      in_class = pattern[i] != ']';
      if (pattern.substr(i, 2) == "[:") refuse("[:");
    } else if (pattern[i] == '[') {
      in_class = true;
      if (next == '^') ++i;
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') ++i;
    } else if (pattern[i] == '(' && next == '*') {
      refuse("(*");
    } else if (pattern.substr(i, 2) == "(?") {
      const auto kind = i + 2 < pattern.size() ? pattern[i + 2] : '\0';
      if (std::string_view("RC&|'0123456789+").find(kind) != std::string_view::npos) refuse(pattern.substr(i, 3));
      if (pattern.substr(i, 4) == "(?P>") refuse("(?P>");
    }
  }
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 160> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

MatchScratch::MatchScratch() : data_(pcre2_match_data_create(1, nullptr)) {
  if (!data_) throw std::bad_alloc();
}
MatchScratch::~MatchScratch() { pcre2_match_data_free(static_cast<pcre2_match_data*>(data_)); }

struct Regex::Code {
  Code(const std::string& pattern, std::uint32_t options, const std::string& name) : where(name) {
    QUIVER_CHECK(pattern.size() <= kMaxPatternBytes, format, where, "the pattern has {} bytes; at most {} are read",
                 pattern.size(), kMaxPatternBytes);
    int error = 0;
    PCRE2_SIZE offset = 0;
    std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
        pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &error, &offset,
                         context.get());
    QUIVER_CHECK(code, format, where, "the pattern '{}' does not compile at byte {}: {}", pattern, offset,
                 message_of(error));
  }
  ~Code() {
    pcre2_match_context_free(limits);
    pcre2_code_free(code);
  }
  void translate_to_machine() { jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0; }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  std::string where;
  pcre2_code* code = nullptr;
  pcre2_match_context* limits = nullptr;  // none: PCRE2's
  bool jit = false;
};

Regex Regex::compile(const std::string& pattern, const std::string& where) {
  const auto translated = Translator(pattern, where).run();
  auto code =
      std::make_shared<Code>(translated, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, where);
  code->translate_to_machine();
  return Regex(std::move(code));
}

Regex Regex::python(const std::string& pattern, const std::string& where) {
  check_python(pattern, where);
  auto code = std::make_shared<Code>(
      pattern, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_ANCHORED | PCRE2_ENDANCHORED, where);
  code->limits = pcre2_match_context_create(nullptr);
  if (!code->limits) throw std::bad_alloc();
  pcre2_set_match_limit(code->limits, kPythonSteps);
  return Regex(std::move(code));
}

bool Regex::full_match(std::string_view text, MatchScratch& scratch) const {
  const auto count = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                                 static_cast<pcre2_match_data*>(scratch.data_), code_->limits);
  if (count == PCRE2_ERROR_NOMATCH) return false;
  QUIVER_CHECK(count >= 0, format, code_->where, "matching '{}' failed: {}; write the pattern more simply", text,
               message_of(count));
  return true;
}

Regex Regex::literal(const std::string& text, const std::string& where) {
  QUIVER_CHECK(!text.empty(), format, where, "the text to look for is empty");
  auto code = std::make_shared<Code>(text, PCRE2_UTF | PCRE2_LITERAL, where);
  code->translate_to_machine();
  return Regex(std::move(code));
}

std::optional<Match> Regex::find(std::string_view text, std::size_t from, MatchScratch& scratch) const {
  auto* data = static_cast<pcre2_match_data*>(scratch.data_);
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  // Input is checked once, before it is split. Empty matches would only split, and no pattern in use has them.
  constexpr std::uint32_t kOptions = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
  int count = PCRE2_ERROR_JIT_STACKLIMIT;
  if (code_->jit) count = pcre2_jit_match(code_->code, subject, text.size(), from, kOptions, data, nullptr);
  if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
    count = pcre2_match(code_->code, subject, text.size(), from, kOptions | PCRE2_NO_JIT, data, nullptr);
  }
  if (count == PCRE2_ERROR_NOMATCH) return std::nullopt;
  QUIVER_CHECK(count >= 0, format, code_->where, "matching a text of {} bytes failed: {}", text.size(),
               message_of(count));
  const auto* offsets = pcre2_get_ovector_pointer(data);
  return Match{offsets[0], offsets[1]};
}

}  // namespace quiver::text
