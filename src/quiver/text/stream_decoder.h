// SPDX-License-Identifier: Apache-2.0
// Text of a generation as it grows: each call gives what the new token completes, never half a character.
// The pieces joined, with finish(), equal Tokenizer::decode of all ids. One text each; not thread-safe.
//
// Where the tokenizer's decoder looks at the whole text, all of it is decoded with each token, and what two calls agree
// on is given: a token late, in time that grows with the text.
#pragma once

#include <memory>
#include <string>
#include <vector>

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
  std::string push_whole(TokenId id);

  std::shared_ptr<const Tokenizer> tokenizer_;
  DecodeOptions options_;
  bool whole_;
  std::string pending_;
  std::size_t leading_spaces_;
  // Where the text is decoded as a whole: its ids, what they gave, and how much of it was given on.
  std::vector<TokenId> ids_;
  std::string text_;
  std::size_t given_ = 0;
};

}  // namespace quiver::text
