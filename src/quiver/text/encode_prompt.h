// SPDX-License-Identifier: Apache-2.0
// What a model is given to go on from, as ids: the one place that decides what stands around a text.
//
// A raw prompt gets what the tokenizer's own template puts around a text: begin-of-sequence where the model's files say
// so, and nothing where they do not. A chat is the chat template's text and no more: a template that wants
// begin-of-sequence writes it. What people say in a chat is plain text; only the template's parts hold special tokens.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "quiver/text/load_tokenizer.h"

namespace quiver::text {

/// Special tokens in the text are themselves.
std::vector<TokenId> encode_prompt(const Tokenizer& tokenizer, std::string_view text);

/// Throws Error{unsupported} where the model has no chat template, or none that Quiver knows.
std::vector<TokenId> encode_chat(const LoadedTokenizer& loaded, std::span<const Message> messages,
                                 const ChatOptions& options = {});

/// What the template puts behind an answer, where that is a token which is never split; none where there is no template
/// that Quiver knows.
std::optional<TokenId> turn_end(const LoadedTokenizer& loaded);

/// Tokens that end an answer in a chat: the tokenizer's, and what the template ends a turn with.
std::vector<TokenId> chat_ends(const LoadedTokenizer& loaded);

}  // namespace quiver::text
