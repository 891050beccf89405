// SPDX-License-Identifier: Apache-2.0
// Tokenizers from Hugging Face's tokenizer.json: byte-pair encoding or a unigram model.
//
// Files are untrusted: sizes, types and ids are checked, and an error is one line that names the file and the key. A
// component that is not known is Error{unsupported}; none is skipped. `truncation` and `padding` are not part of what
// the text means and are ignored.
#pragma once

#include <string>

#include "quiver/text/tokenizer.h"

namespace quiver::text {

/// The parts in the bytes of one tokenizer.json; `file` names it in messages. No BOS or EOS: they stand elsewhere.
TokenizerParts parse_tokenizer_json(const std::string& bytes, const std::string& file);

}  // namespace quiver::text
