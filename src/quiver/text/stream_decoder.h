// SPDX-License-Identifier: Apache-2.0
// Text of a generation as it grows: each call gives what the new token completes, never half a character.
// The pieces joined, with finish(), equal Tokenizer::decode of all ids. One text each; not thread-safe.
#pragma once

#include <memory>
#include <string>

#include "quiver/text/tokenizer.h"

namespace quiver::text {

class StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, DecodeOptions options = {});
  /// What the token adds; "" while a character is unfinished.
  std::string push(TokenId id);
  /// What is left: U+FFFD for a character that never became complete.
  std::string finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  DecodeOptions options_;
  std::string pending_;
  std::size_t leading_spaces_;
};

}  // namespace quiver::text
