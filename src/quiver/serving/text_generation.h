// SPDX-License-Identifier: Apache-2.0
// Answers as text: stop strings, pieces as they come, prompts and the turns of a chat.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "quiver/serving/generate.h"
#include "quiver/text/encode_prompt.h"

namespace quiver::serving {

struct TextOptions {
  GenerateOptions generate;       ///< stop_tokens come from the prompt
  std::vector<std::string> stop;  ///< an answer ends before the first of these in its text; not in a search by beams
};

/// What is to be answered, as ids, and the tokens that end its answer.
struct TextPrompt {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> ends;
};
/// The turns so far; the answer is the next one.
TextPrompt chat_prompt(const text::LoadedTokenizer& tokenizer, std::span<const text::Message> messages);

struct TextAnswer {
  std::string text;               ///< up to the stop string, if one came
  std::vector<std::int32_t> ids;  ///< all that were generated
  std::string finish;             ///< stop_string, or the name of a Finish
  std::optional<double> score;    ///< of a search by beams
};

/// Called with each piece of text; pieces joined are the answer's text. A search tells its answer at the end alone.
using OnText = std::function<void(std::string_view piece)>;

/// router: null is the base model.
TextAnswer answer_text(const model::Model& model, const text::LoadedTokenizer& tokenizer, const routing::Router* router,
                       const TextPrompt& prompt, const std::string& task, const TextOptions& options,
                       const OnText& on_text = nullptr);

}  // namespace quiver::serving
