// SPDX-License-Identifier: Apache-2.0
// Tokenizers from SentencePiece's own model files (spiece.model): one protocol buffers message, ModelProto.
//
// Field 1, repeated: a piece (1 its text, 2 its score as float32, 3 its type: 1 normal, 2 unknown, 3 control, 4 user
// defined, 5 unused, 6 byte). Field 2: the trainer's settings (3 the model: 1 unigram, 2 BPE, 3 word, 4 char; 24 spaces
// end words; 35 byte fallback; 46 and 47 the names of BOS and EOS). Field 3: the normaliser (2 the character map, 3 a
// space before the text, 4 without extra spaces, 5 spaces escaped). Field 5: what is applied to decoded text.
//
// Ids are those of the `sentencepiece` package. Control pieces and the unknown piece are special added tokens, which
// text may name unless it is encoded with parse_special_tokens = false, as that package always does. Decoding is
// transformers': special tokens are there unless left out, and the unknown piece is written by its name.
// Files are untrusted; a model that is not unigram is Error{unsupported} and names its type.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "quiver/text/tokenizer.h"

namespace quiver::text {

/// The parts in the bytes of one model file; `file` names it in messages. Nothing stands around texts.
TokenizerParts parse_sentencepiece(std::string_view bytes, const std::string& file);

/// T5's convention, which its model files leave out: EOS ends each text, and `sentinels` special tokens follow the
/// pieces, from <extra_id_{sentinels-1}> down to <extra_id_0>, the highest id; none where the pieces hold them already.
void add_t5_convention(TokenizerParts& parts, std::size_t sentinels, const std::string& file);

}  // namespace quiver::text
