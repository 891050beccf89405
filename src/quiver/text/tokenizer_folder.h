// SPDX-License-Identifier: Apache-2.0
// Tokenizers of Hugging Face model folders: tokenizer.json, else a SentencePiece model, and the files beside it.
//
// Files are untrusted: see tokenizer_json.h and tokenizer_sentencepiece.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quiver/base/files.h"
#include "quiver/text/tokenizer.h"

namespace quiver::text {

/// The name of the file in `folder` that holds the tokenizer: tokenizer.json, else spiece.model, sentencepiece.model or
/// tokenizer.model. Nothing where none is there.
std::optional<std::string> find_tokenizer_file(const fs::path& folder);

/// The files of a model folder that tokenizer and chat template are read from, apart from config.json.
std::vector<std::string> tokenizer_files();

/// Parts from that file; tokens by name and further added tokens from tokenizer_config.json and
/// special_tokens_map.json; EOS from generation_config.json, else config.json, else the tokenizer's own.
///
/// A SentencePiece model follows T5's convention, with as many sentinels as tokenizer_config.json's `extra_ids` says,
/// else 100, or none where config.json's `vocab_size` has no room for them. Where tokenizer_config.json or config.json
/// names another kind of tokenizer or model, whose conventions Quiver does not know, it is Error{unsupported}.
TokenizerParts read_tokenizer_folder(const fs::path& folder);

/// The chat template of a model folder: chat_template.jinja, else in tokenizer_config.json, else chat_template.json;
/// where several are named, `default`. Empty where there is none.
std::string read_chat_template(const fs::path& folder);

}  // namespace quiver::text
