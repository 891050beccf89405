// SPDX-License-Identifier: Apache-2.0
// A chat as the ids that a model goes on from, and what ends an answer in it.
//
// They are the chat template's text and no more: a template that wants begin-of-sequence writes it. What people say is
// plain text; only the template's parts hold special tokens.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quiver/text/load_tokenizer.h"

namespace quiver::text {

struct EncodedChat {
  std::string text;  ///< what the template makes of the messages
  std::vector<TokenId> ids;
};
/// Throws Error{unsupported} where the model has no chat template, or none that Quiver knows.
EncodedChat render_chat(const LoadedTokenizer& loaded, std::span<const Message> messages,
                        const ChatOptions& options = {});
std::vector<TokenId> encode_chat(const LoadedTokenizer& loaded, std::span<const Message> messages,
                                 const ChatOptions& options = {});

/// What the template puts behind an answer, where that is a token which is never split; none where there is no template
/// that Quiver knows.
std::optional<TokenId> turn_end(const LoadedTokenizer& loaded);

/// Tokens that end an answer in a chat: the tokenizer's, and what the template ends a turn with.
std::vector<TokenId> chat_ends(const LoadedTokenizer& loaded);

}  // namespace quiver::text
