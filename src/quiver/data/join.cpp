// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/join.h"

#include <algorithm>
#include <optional>

#include "quiver/base/error.h"

namespace quiver::data {
namespace {

using Ids = std::vector<std::int32_t>;

std::int32_t size_of(const Ids& ids) { return static_cast<std::int32_t>(ids.size()); }

bool is_break(char c) { return c == ' ' || c == '\n'; }

/// What a row begins with before its texts.
std::optional<std::int32_t> first_token(std::string_view source, const JoinOptions& options) {
  if (options.begin_token >= 0) return options.begin_token;
  const bool bare = source.empty() && options.source_end_token < 0 && options.start_token >= 0;
  return bare ? std::optional(options.start_token) : std::nullopt;
}

std::int32_t suffix_tokens(const JoinOptions& options) { return options.source_end_token >= 0 ? 1 : 0; }

void append(Ids& ids, const Ids& more) { ids.insert(ids.end(), more.begin(), more.end()); }

TokenRow encode_row(const JoinedTexts& texts, const Encode& encode, std::int32_t eos_id, const JoinOptions& options) {
  TokenRow row;
  if (const auto first = first_token(texts.source, options)) row.ids.push_back(*first);
  const auto prefix = size_of(row.ids);
  const bool joint = options.tokenise == JoinOptions::Tokenise::joint;
  append(row.ids, encode(joint ? texts.source + texts.target : texts.source));
  if (options.source_end_token >= 0) row.ids.push_back(options.source_end_token);
  row.target_begin = size_of(row.ids);
  if (!joint) {
    append(row.ids, encode(texts.target));
  } else if (options.mask == JoinOptions::Mask::source_alone) {
    row.target_begin = std::min(prefix + size_of(encode(texts.source)), size_of(row.ids));
  } else {
    row.target_begin = std::max(prefix, size_of(row.ids) - size_of(encode(texts.target)));
  }
  if (options.append_eos) row.ids.push_back(eos_id);
  return row;
}

void erase(TokenRow& row, std::int32_t begin, std::int32_t count) {
  const auto of_source = std::clamp(row.target_begin - begin, 0, count);
  row.ids.erase(row.ids.begin() + begin, row.ids.begin() + begin + count);
  row.target_begin -= of_source;
  row.dropped_tokens += count;
  row.dropped_target_tokens += count - of_source;
}

/// Cuts `excess` tokens of the `length` tokens that follow the prefix.
void cut(TokenRow& row, std::int32_t prefix, std::int32_t length, std::int32_t excess, const JoinOptions& options) {
  const bool left = options.truncate == JoinOptions::Truncate::left;
  erase(row, left ? prefix : prefix + length - excess, excess);
}

void truncate(TokenRow& row, std::int32_t prefix, const JoinOptions& options) {
  const auto excess = size_of(row.ids) - options.max_tokens;
  if (excess <= 0) return;
  if (options.truncate_jointly) return cut(row, prefix, size_of(row.ids) - prefix, excess, options);
  const auto source = row.target_begin - prefix - suffix_tokens(options);
  const auto kept_at_least = prefix + suffix_tokens(options) > 0 ? 0 : std::min(source, 1);
  cut(row, prefix, source, std::min(excess, source - kept_at_least), options);
  const auto target_excess = size_of(row.ids) - options.max_tokens;
  if (target_excess > 0) erase(row, options.max_tokens, target_excess);
}

/// The row with something to learn in it, or an error.
TokenRow learnable(TokenRow row, const JoinOptions& options) {
  if (options.whole_sequence_loss) row.target_begin = 1;
  row.target_begin = std::max(row.target_begin, 1);
  QUIVER_CHECK(
      row.target_begin<size_of(row.ids), format, "join",
                       "expected a target token to learn, came a row of {} tokens whose target begins at {}: {}",
                       row.ids.size(), row.target_begin, row.dropped_tokens> 0
          ? fmt::format("{} tokens were cut; give more --max-tokens or another --truncate", row.dropped_tokens)
          : "its target is empty, or without a token before it");
  return row;
}

/// A rendered chat's turn: the template has said all that stands before it.
TokenRow chat_row(const Ids& chat, std::string_view answer, const Encode& encode, std::int32_t eos_id,
                  const JoinOptions& options) {
  check(options);
  TokenRow row;
  row.ids = chat;
  if (options.source_end_token >= 0) row.ids.push_back(options.source_end_token);
  row.target_begin = size_of(row.ids);
  append(row.ids, encode(answer));
  if (options.append_eos) row.ids.push_back(options.turn_end_token >= 0 ? options.turn_end_token : eos_id);
  truncate(row, 0, options);
  return learnable(std::move(row), options);
}

Ids cut_prompt(Ids ids, std::int32_t prefix, const JoinOptions& options) {
  TokenRow row;
  row.ids = std::move(ids);
  const auto excess = size_of(row.ids) + suffix_tokens(options) - options.max_tokens;
  if (excess > 0) cut(row, prefix, size_of(row.ids) - prefix, excess, options);
  if (options.source_end_token >= 0) row.ids.push_back(options.source_end_token);
  return row.ids;
}

}  // namespace

void check(const JoinOptions& options) {
  const bool closed = options.source_end_token >= 0;
  QUIVER_CHECK(!closed || (options.tokenise == JoinOptions::Tokenise::apart && !options.truncate_jointly &&
                           !options.whole_sequence_loss),
               usage, "join",
               "an encoder-decoder's source is closed: source and target are tokenised and cut apart, and "
               "the target alone is learned");
  QUIVER_CHECK(options.max_tokens >= 2, usage, "join", "expected max_tokens of 2 or more, came {}", options.max_tokens);
}

JoinedTexts separate(std::string_view source, std::string_view target, JoinOptions::Separator separator) {
  JoinedTexts texts{std::string(source), std::string(target)};
  if (separator == JoinOptions::Separator::newline) {
    if (!source.empty() && source.back() != '\n') texts.source += '\n';
  } else if (separator == JoinOptions::Separator::mttl_space) {
    if (source.ends_with(' ')) {
      texts.source.pop_back();
      texts.target.insert(texts.target.begin(), ' ');
    }
    const bool source_breaks = !texts.source.empty() && is_break(texts.source.back());
    const bool target_breaks = !texts.target.empty() && is_break(texts.target.front());
    if (!source_breaks && !target_breaks) texts.target.insert(texts.target.begin(), ' ');
  }
  return texts;
}

TokenRow join_texts(std::string_view source, std::string_view target, const Encode& encode, std::int32_t eos_id,
                    const JoinOptions& options) {
  check(options);
  const auto texts = separate(source, target, options.separator);
  auto row = encode_row(texts, encode, eos_id, options);
  truncate(row, first_token(texts.source, options) ? 1 : 0, options);
  return learnable(std::move(row), options);
}

TokenRow join_answer(const Example& example, std::string_view answer, const Encode& encode, std::int32_t eos_id,
                     const JoinOptions& options) {
  QUIVER_CHECK(example.messages.empty(), usage, "join", "expected a chat of {} turns to be rendered into `source`",
               example.messages.size());
  auto row = example.chat_ids.empty() ? join_texts(example.source, answer, encode, eos_id, options)
                                      : chat_row(example.chat_ids, answer, encode, eos_id, options);
  row.weight = example.weight;
  return row;
}

TokenRow join_example(const Example& example, const Encode& encode, std::int32_t eos_id, const JoinOptions& options) {
  return join_answer(example, example.target, encode, eos_id, options);
}

std::vector<std::int32_t> prompt_ids(std::string_view source, const Encode& encode, const JoinOptions& options) {
  check(options);
  Ids ids;
  const auto text = separate(source, "", options.separator).source;
  if (const auto first = first_token(text, options)) ids.push_back(*first);
  const auto prefix = size_of(ids);
  append(ids, encode(text));
  return cut_prompt(std::move(ids), prefix, options);
}

std::vector<std::int32_t> prompt_ids(const Example& example, const Encode& encode, const JoinOptions& options) {
  if (example.chat_ids.empty()) return prompt_ids(example.source, encode, options);
  check(options);
  return cut_prompt(example.chat_ids, 0, options);
}

}  // namespace quiver::data
