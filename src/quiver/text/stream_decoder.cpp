// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/stream_decoder.h"

#include <algorithm>

#include "quiver/text/unicode.h"

namespace quiver::text {

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, DecodeOptions options)
    : tokenizer_(std::move(tokenizer)),
      options_(options),
      whole_(tokenizer_->reads_whole_text()),
      leading_spaces_(tokenizer_->leading_spaces_dropped()) {}

std::string StreamDecoder::push_whole(TokenId id) {
  ids_.push_back(id);
  auto now = tokenizer_->decode(ids_, options_);
  auto same =
      static_cast<std::size_t>(std::mismatch(now.begin(), now.end(), text_.begin(), text_.end()).first - now.begin());
  // A character that is unfinished may be another with the next token.
  while (same > 0 && same < now.size() && (static_cast<unsigned char>(now[same]) & 0xC0) == 0x80) --same;
  while (std::string_view(now).substr(0, same).ends_with(kReplacement)) same -= std::string_view(kReplacement).size();
  text_ = std::move(now);
  auto out = same > given_ ? text_.substr(given_, same - given_) : std::string();
  given_ = std::max(given_, same);
  return out;
}

std::string StreamDecoder::push(TokenId id) {
  if (whole_) return push_whole(id);
  if (options_.skip_special_tokens && tokenizer_->is_special(id)) return "";
  std::string_view bytes = tokenizer_->piece_bytes(id);
  if (!bytes.empty()) {
    for (; leading_spaces_ > 0 && bytes.starts_with(' '); --leading_spaces_) bytes.remove_prefix(1);
    if (!bytes.empty()) leading_spaces_ = 0;
  }
  pending_ += bytes;
  std::string out;
  pending_.erase(0, append_valid_utf8(pending_, TrailingBytes::keep, out));
  return out;
}

std::string StreamDecoder::finish() {
  if (whole_) {
    auto rest = given_ < text_.size() ? text_.substr(given_) : std::string();
    given_ = text_.size();
    return rest;
  }
  auto out = to_valid_utf8(pending_);
  pending_.clear();
  return out;
}

}  // namespace quiver::text
