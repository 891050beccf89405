// SPDX-License-Identifier: Apache-2.0
// Chat messages to the text that a model was trained to continue.
//
// A template is recognised by its text; the ChatML family is known: `<|im_start|>role\ncontent<|im_end|>\n`, optionally
// with a system message of its own before messages that bring none. Immutable; thread-safe.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quiver/text/text_part.h"

namespace quiver::text {

struct Message {
  std::string role;     ///< "system", "user", "assistant", ...; written as it stands
  std::string content;  ///< written as it stands
};

struct ChatOptions {
  bool add_generation_prompt = true;  ///< end with the beginning of an answer
  std::string tools_json{};           ///< a JSON array; templates that ignore tools refuse any
};

class ChatTemplate {
 public:
  /// `source` is the template as the model's files have it.
  explicit ChatTemplate(std::string source);

  const std::string& source() const { return source_; }
  bool recognized() const { return recognized_; }

  /// Throws Error{unsupported} for a template that is not recognised, and for tools that it would drop.
  std::string render(std::span<const Message> messages, const ChatOptions& options = {}) const;
  /// The same in parts: the template's, and in between, plain, what the messages bring. No two neighbours are alike.
  std::vector<TextPart> parts(std::span<const Message> messages, const ChatOptions& options = {}) const;

 private:
  std::string source_;
  bool recognized_ = false;
  std::optional<std::string> default_system_;
};

}  // namespace quiver::text
