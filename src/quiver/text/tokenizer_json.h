// SPDX-License-Identifier: Apache-2.0
// Tokenizers from Hugging Face's tokenizer.json (a BPE model) and the files beside it.
//
// Files are untrusted: sizes, types and ids are checked, and an error is one line that names the file and the key. A
// component that is not known is Error{unsupported}; none is skipped. `truncation` and `padding` are not part of what
// the text means and are ignored.
#pragma once

#include <string>

#include "quiver/base/files.h"
#include "quiver/text/tokenizer.h"

namespace quiver::text {

/// The parts in the bytes of one tokenizer.json; `file` names it in messages. No BOS or EOS: they stand elsewhere.
TokenizerParts parse_tokenizer_json(const std::string& bytes, const std::string& file);

/// From a model folder: tokenizer.json; tokens by name and further added tokens from tokenizer_config.json and
/// special_tokens_map.json; EOS from generation_config.json, else config.json, else the tokenizer's own.
TokenizerParts read_tokenizer_folder(const fs::path& folder);

/// The chat template of a model folder: chat_template.jinja, else in tokenizer_config.json, else chat_template.json;
/// where several are named, `default`. Empty where there is none.
std::string read_chat_template(const fs::path& folder);

}  // namespace quiver::text
