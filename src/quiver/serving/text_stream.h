// SPDX-License-Identifier: Apache-2.0
// The text of an answer as it grows, up to the first of its stop strings. Not thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "quiver/text/stream_decoder.h"

namespace quiver::serving {

class TextStream {
 public:
  /// Throws Error{usage} on an empty stop string. Special tokens are left out of the text.
  TextStream(std::shared_ptr<const text::Tokenizer> tokenizer, std::vector<std::string> stops);

  /// What may be shown of the answer now: what can no longer become part of a stop string, whole characters.
  std::string push(text::TokenId token);
  /// The rest, once no token follows; nothing where it stopped.
  std::string finish();

  /// A stop string has come: of several that are complete, the one that begins first in the text. What is shown ends
  /// before it.
  bool stopped() const { return stopped_; }
  /// All of it.
  const std::string& text() const { return text_; }

 private:
  std::string grown(const std::string& piece, bool goes_on);
  std::string shown_up_to(std::size_t end);
  std::size_t held_back() const;

  text::StreamDecoder decoder_;
  std::vector<std::string> stops_;
  std::string text_;
  std::size_t searched_ = 0, shown_ = 0;
  bool stopped_ = false;
};

}  // namespace quiver::serving
