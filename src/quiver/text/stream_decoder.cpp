// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/stream_decoder.h"

#include "quiver/text/unicode.h"

namespace quiver::text {

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, DecodeOptions options)
    : tokenizer_(std::move(tokenizer)), options_(options), leading_spaces_(tokenizer_->leading_spaces_dropped()) {}

std::string StreamDecoder::push(TokenId id) {
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
  auto out = to_valid_utf8(pending_);
  pending_.clear();
  return out;
}

}  // namespace quiver::text
