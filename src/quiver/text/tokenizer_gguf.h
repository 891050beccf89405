// SPDX-License-Identifier: Apache-2.0
// Tokenizers from the metadata of a GGUF file: byte-level BPE (`tokenizer.ggml.model` = "gpt2").
//
// Such a file names its pre-tokeniser (`tokenizer.ggml.pre`) instead of holding its pattern; the names known here are
// those in `read_tokenizer_gguf`'s table, and any other is Error{unsupported}. Metadata is untrusted: types, sizes and
// ids are checked, and an error names the key.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "quiver/text/tokenizer.h"

namespace quiver::text {

/// The same type as tensor_io::GgufFile::metadata(), written out so that this header does not bring LibTorch with it.
using GgufMetadata =
    std::map<std::string, std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>,
                                       std::vector<double>, std::vector<std::string>>>;

/// Control tokens are special; a BOS or EOS that the file asks for is put around texts with add_special_tokens.
TokenizerParts read_tokenizer_gguf(const GgufMetadata& metadata, const std::string& file);

/// `tokenizer.chat_template`, or "".
std::string chat_template_gguf(const GgufMetadata& metadata, const std::string& file);

}  // namespace quiver::text
