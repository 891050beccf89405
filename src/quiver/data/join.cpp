// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/join.h"

#include <algorithm>

#include "quiver/base/error.h"

namespace quiver::data {
namespace {

using Ids = std::vector<std::int32_t>;

std::int32_t size_of(const Ids& ids) { return static_cast<std::int32_t>(ids.size()); }

bool is_break(char c) { return c == ' ' || c == '\n'; }

std::int32_t prefix_tokens(const JoinOptions& options) { return options.begin_token >= 0 ? 1 : 0; }

std::int32_t suffix_tokens(const JoinOptions& options) { return options.source_end_token >= 0 ? 1 : 0; }

void check_options(const JoinOptions& options) {
  const bool closed = options.source_end_token >= 0;
  QUIVER_CHECK(!closed || (options.tokenise == JoinOptions::Tokenise::apart && !options.truncate_jointly &&
                           !options.whole_sequence_loss),
               usage, "join",
               "an encoder-decoder's source is closed: source and target are tokenised and cut apart, and "
               "the target alone is learned");
  QUIVER_CHECK(options.max_tokens >= 2, usage, "join", "expected max_tokens of 2 or more, came {}", options.max_tokens);
}

void append(Ids& ids, const Ids& more) { ids.insert(ids.end(), more.begin(), more.end()); }

TokenRow encode_row(const JoinedTexts& texts, const Encode& encode, std::int32_t eos_id, const JoinOptions& options) {
  TokenRow row;
  const auto prefix = prefix_tokens(options);
  if (prefix) row.ids.push_back(options.begin_token);
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
  row.ids.erase(row.ids.begin() + begin, row.ids.begin() + begin + count);
  row.target_begin -= std::clamp(row.target_begin - begin, 0, count);
  row.dropped_tokens += count;
}

/// Cuts `excess` tokens of the `length` tokens that follow the prefix.
void cut(TokenRow& row, std::int32_t length, std::int32_t excess, const JoinOptions& options) {
  const auto prefix = prefix_tokens(options);
  const bool left = options.truncate == JoinOptions::Truncate::left;
  erase(row, left ? prefix : prefix + length - excess, excess);
}

void truncate(TokenRow& row, const JoinOptions& options) {
  const auto prefix = prefix_tokens(options);
  const auto excess = size_of(row.ids) - options.max_tokens;
  if (excess <= 0) return;
  if (options.truncate_jointly) return cut(row, size_of(row.ids) - prefix, excess, options);
  const auto source = row.target_begin - prefix - suffix_tokens(options);
  const auto kept_at_least = prefix + suffix_tokens(options) > 0 ? 0 : std::min(source, 1);
  cut(row, source, std::min(excess, source - kept_at_least), options);
  const auto target_excess = size_of(row.ids) - options.max_tokens;
  if (target_excess > 0) erase(row, options.max_tokens, target_excess);
}

}  // namespace

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
  check_options(options);
  auto row = encode_row(separate(source, target, options.separator), encode, eos_id, options);
  truncate(row, options);
  if (options.whole_sequence_loss) row.target_begin = 1;
  row.target_begin = std::max(row.target_begin, 1);
  QUIVER_CHECK(row.target_begin < size_of(row.ids), format, "join",
               "expected a target token to learn, came a row of {} tokens whose target begins at {} ({} were cut)",
               row.ids.size(), row.target_begin, row.dropped_tokens);
  return row;
}

TokenRow join_example(const Example& example, const Encode& encode, std::int32_t eos_id, const JoinOptions& options) {
  QUIVER_CHECK(example.messages.empty(), usage, "join", "expected a chat of {} turns to be rendered into `source`",
               example.messages.size());
  auto row = join_texts(example.source, example.target, encode, eos_id, options);
  row.weight = example.weight;
  return row;
}

std::vector<std::int32_t> prompt_ids(std::string_view source, const Encode& encode, const JoinOptions& options) {
  check_options(options);
  TokenRow row;
  if (prefix_tokens(options)) row.ids.push_back(options.begin_token);
  append(row.ids, encode(separate(source, "", options.separator).source));
  const auto excess = size_of(row.ids) + suffix_tokens(options) - options.max_tokens;
  if (excess > 0) cut(row, size_of(row.ids) - prefix_tokens(options), excess, options);
  if (options.source_end_token >= 0) row.ids.push_back(options.source_end_token);
  return row.ids;
}

}  // namespace quiver::data
