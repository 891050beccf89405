// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/encode_prompt.h"

#include <algorithm>
#include <array>

#include "quiver/base/error.h"

namespace quiver::text {
namespace {

const ChatTemplate& template_of(const LoadedTokenizer& loaded) {
  QUIVER_CHECK(loaded.chat_template, unsupported, "chat", "the model has no chat template");
  return *loaded.chat_template;
}

}  // namespace

EncodedChat render_chat(const LoadedTokenizer& loaded, std::span<const Message> messages, const ChatOptions& options) {
  const auto& chat = template_of(loaded);
  const auto parts = chat.parts(messages, options);
  EncodedChat out{"", loaded.tokenizer->encode(parts, chat.source())};
  for (const auto& part : parts) out.text += part.text;
  return out;
}

std::vector<TokenId> encode_chat(const LoadedTokenizer& loaded, std::span<const Message> messages,
                                 const ChatOptions& options) {
  return render_chat(loaded, messages, options).ids;
}

std::optional<TokenId> turn_end(const LoadedTokenizer& loaded) {
  if (!loaded.chat_template || !loaded.chat_template->recognized()) return std::nullopt;
  const std::array<Message, 2> turns{{{"user", "a"}, {"assistant", "b"}}};
  const auto parts = loaded.chat_template->parts(turns, {.add_generation_prompt = false});
  // The first token of the text behind the answer, where the vocabulary has it as one that is never split.
  if (parts.empty() || parts.back().plain) return std::nullopt;
  const auto behind = loaded.tokenizer->encode(parts.back().text);
  return !behind.empty() && loaded.tokenizer->is_added(behind[0]) ? std::optional(behind[0]) : std::nullopt;
}

std::vector<TokenId> chat_ends(const LoadedTokenizer& loaded) {
  template_of(loaded);
  auto ends = loaded.tokenizer->eos_ids();
  if (const auto end = turn_end(loaded); end && !loaded.tokenizer->is_eos(*end)) ends.push_back(*end);
  return ends;
}

}  // namespace quiver::text
