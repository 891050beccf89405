// SPDX-License-Identifier: Apache-2.0
// The tokenizer and chat template of a model, wherever the model's files keep them.
#pragma once

#include <memory>
#include <optional>

#include "quiver/base/files.h"
#include "quiver/text/chat_template.h"
#include "quiver/text/tokenizer.h"

namespace quiver::text {

struct LoadedTokenizer {
  std::shared_ptr<const Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat_template;  ///< where the model has one; known to Quiver or not
};

/// From a Hugging Face folder (tokenizer.json, else T5's spiece.model) or a GGUF file. Throws Error{not_found} where
/// neither is there.
LoadedTokenizer load_tokenizer(const fs::path& model);

}  // namespace quiver::text
