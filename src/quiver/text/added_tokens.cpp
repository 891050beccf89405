// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/added_tokens.h"

#include <algorithm>

#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

bool word_touches(std::string_view text, std::size_t begin, std::size_t end) {
  const bool before = begin > 0 && is_word_character(character_at(text, previous_character(text, begin)).code_point);
  return before || (end < text.size() && is_word_character(character_at(text, end).code_point));
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens, const std::vector<std::string>& patterns)
    : tokens_(std::move(tokens)) {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    if (patterns[i].empty()) continue;
    by_pattern_.emplace(patterns[i], i);
    lengths_[static_cast<unsigned char>(patterns[i][0])].push_back(patterns[i].size());
  }
  for (auto& lengths : lengths_) {
    std::sort(lengths.begin(), lengths.end(), std::greater<>());
    lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  }
}

std::optional<AddedTokenMatcher::Found> AddedTokenMatcher::find(std::string_view text, std::size_t from) const {
  for (std::size_t at = from; at < text.size(); ++at) {
    for (const auto length : lengths_[static_cast<unsigned char>(text[at])]) {
      if (length > text.size() - at) continue;
      const auto found = by_pattern_.find(std::string(text.substr(at, length)));
      if (found != by_pattern_.end()) return Found{&tokens_[found->second], at, at + length};
    }
  }
  return std::nullopt;
}

void AddedTokenMatcher::split(Part part, const IsText& is_text, const std::function<void(Part)>& on_text,
                              const std::function<void(std::int32_t)>& on_token) const {
  const auto text = part.text;
  const auto emit = [&](std::size_t begin, std::size_t end) {
    if (end > begin) on_text({text.substr(begin, end - begin), part.first && begin == 0});
  };
  std::size_t done = 0;
  for (std::size_t from = 0; !empty() && from < text.size();) {
    const auto found = find(text, from);
    if (!found) break;
    const auto& token = *found->token;
    from = found->end;
    if (found->begin < done) continue;  // inside the white space that the token before took
    if (is_text(token, text.substr(found->begin, found->end - found->begin))) continue;
    if (token.single_word && word_touches(text, found->begin, found->end)) continue;
    emit(done, token.lstrip ? skip_white_space_back(text, found->begin, done) : found->begin);
    on_token(token.id);
    done = token.rstrip ? skip_white_space(text, found->end) : found->end;
  }
  emit(done, text.size());
}

}  // namespace quiver::text
