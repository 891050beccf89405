// SPDX-License-Identifier: Apache-2.0
// The components of a tokenizer.json, one function each. Private to tokenizer_json.cpp.
#pragma once

#include <vector>

#include "quiver/text/json_view.h"
#include "quiver/text/tokenizer.h"

namespace quiver::text {

/// Ids at or above this are refused: they would make tables of their size.
inline constexpr std::int64_t kMaxVocabulary = 1 << 22;

struct PreTokenizerParts {
  PreTokenizer steps;
  bool byte_level = false;  ///< words are bytes from here on
};

AddedToken read_added_token(const JsonView& token, TokenId id);
Normalizer read_normalizer(const JsonView& normalizer);
PreTokenizerParts read_pre_tokenizer(const JsonView& pre_tokenizer);
Decoder read_decoder(const JsonView& decoder);
/// Appends what the processor puts around a text to `prefix` (at its front) and `suffix`.
void read_post_processor(const JsonView& processor, std::vector<TokenId>& prefix, std::vector<TokenId>& suffix);

}  // namespace quiver::text
