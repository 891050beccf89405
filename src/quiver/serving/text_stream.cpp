// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/text_stream.h"

#include <algorithm>

#include "quiver/base/error.h"

namespace quiver::serving {

TextStream::TextStream(std::shared_ptr<const text::Tokenizer> tokenizer, std::vector<std::string> stops)
    : decoder_(std::move(tokenizer), {.skip_special_tokens = true}), stops_(std::move(stops)) {
  for (const auto& stop : stops_)
    QUIVER_CHECK(!stop.empty(), usage, "--stop", "an empty stop string would end every answer at once");
}

std::string TextStream::push(text::TokenId token) { return stopped_ ? "" : grown(decoder_.push(token), true); }

std::string TextStream::finish() { return stopped_ ? "" : grown(decoder_.finish(), false); }

std::string TextStream::grown(const std::string& piece, bool goes_on) {
  text_ += piece;
  auto first = std::string::npos;
  for (const auto& stop : stops_)
    first = std::min(first, text_.find(stop, searched_ - std::min(searched_, stop.size())));
  if (first != std::string::npos) {
    stopped_ = true;
    text_.resize(first);
    return shown_up_to(first);
  }
  searched_ = text_.size();
  return shown_up_to(text_.size() - (goes_on ? held_back() : 0));
}

std::string TextStream::shown_up_to(std::size_t end) {
  auto out = end > shown_ ? text_.substr(shown_, end - shown_) : std::string();
  shown_ = std::max(shown_, end);
  return out;
}

/// Bytes at the end that begin some stop string.
std::size_t TextStream::held_back() const {
  std::size_t longest = 0;
  for (const auto& stop : stops_) {
    for (std::size_t n = std::min(stop.size(), text_.size()); n > longest; --n) {
      if (text_.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

}  // namespace quiver::serving
