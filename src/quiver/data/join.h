// SPDX-License-Identifier: Apache-2.0
// Joining: how a source and a target become the token ids that a model sees, in training and in scoring alike.
//
// Decoder-only models read source and target as one row; encoder-decoders read the ids before target_begin with one
// stack and write the others with another. Only the target is learned. The rules below decide scores by several points,
// so each is an option. The default is what Quiver's experts are trained with. MTTL's rules are
//   {.separator = mttl_space, .tokenise = joint, .mask = target_alone, .truncate_jointly = true}
// and lm-evaluation-harness's are {.separator = none, .tokenise = joint, .mask = source_alone, .append_eos = false}
// over a target that opens with its space. Pure functions, as thread-safe as the tokenizer.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "quiver/data/task.h"

namespace quiver::data {

/// Text to ids without special tokens.
using Encode = std::function<std::vector<std::int32_t>(std::string_view)>;

struct JoinOptions {
  enum class Separator {
    newline,     ///< "\n" after the source, unless it is empty or ends in one
    mttl_space,  ///< the source's last space moves to the target; else a space opens the target, unless the source ends
                 ///< or the target starts with a space or newline
    none,        ///< as they are
  };
  enum class Tokenise {
    apart,  ///< encode(source) then encode(target): no token spans the border, so prompts are the same in generation
    joint,  ///< encode(source + target): a token may span the border
  };
  /// Where the target of a joint row begins: the border is by count, so it can be off by one where a token spans it.
  enum class Mask {
    target_alone,  ///< length of encode(target), counted from the end
    source_alone,  ///< length of encode(source), counted from the start
  };
  enum class Truncate { left, right };  ///< the end that loses tokens

  /// What stands between source and target. Experts trained with one and scored with another lose points.
  Separator separator = Separator::newline;
  Tokenise tokenise = Tokenise::apart;
  Mask mask = Mask::target_alone;  ///< read only where tokenise = joint
  /// Longest row, in tokens, 2 or more. Memory and time of a batch grow with it; longer rows lose tokens.
  std::int32_t max_tokens = 1024;
  /// The end of the source (of the row where truncate_jointly) that is cut. Left keeps what stands next to the answer.
  Truncate truncate = Truncate::left;
  /// false: only the source is cut, to one token at the least, so target and EOS survive; a target too long by itself
  /// loses its end, EOS included, so that stopping in mid-answer is not learned. true: source and target are cut as
  /// one.
  bool truncate_jointly = false;
  /// The end-of-sequence token closes the target: learned, so that generation stops. false: the model runs on.
  bool append_eos = true;
  /// true: the loss covers the source too (plain language modelling). The target then begins at token 1.
  bool whole_sequence_loss = false;
  /// A token put first in each row and never cut (BOS); -1: none, as SmolLM2 and MTTL have it.
  std::int32_t begin_token = -1;
  /// What a row without begin_token begins with where its source is empty, so that its target's first token can be
  /// learned and an answer has something to go on from; -1: nothing.
  std::int32_t start_token = -1;
  /// What closes the target of a rendered chat in place of the end-of-sequence token; -1: that token.
  std::int32_t turn_end_token = -1;
  /// A token that closes each source and is never cut, as encoder-decoders have it; -1: none. Then tokenise = apart.
  std::int32_t source_end_token = -1;
};

/// A row ready for the model. 1 <= target_begin < ids.size(): the model predicts ids[target_begin..], each from the
/// ids before it; the first id of a row is never predicted, so a row that begins with its target loses one token.
struct TokenRow {
  std::vector<std::int32_t> ids;
  std::int32_t target_begin = 0;
  double weight = 1;
  std::int32_t dropped_tokens = 0;         ///< lost to max_tokens
  std::int32_t dropped_target_tokens = 0;  ///< those of them that were the target's, its end included
};

/// Throws Error{usage} where options contradict each other.
void check(const JoinOptions& options);

/// Source and target as one row. Throws Error{format} where nothing is left to learn, Error{usage} on bad options.
TokenRow join_texts(std::string_view source, std::string_view target, const Encode& encode, std::int32_t eos_id,
                    const JoinOptions& options = {});

/// The same for an example, with its weight. A chat must have been rendered: `source` and `chat_ids` filled, `messages`
/// cleared; its row is chat_ids, target and turn_end_token, whatever the separator, begin_token and tokenise.
TokenRow join_example(const Example& example, const Encode& encode, std::int32_t eos_id,
                      const JoinOptions& options = {});
/// Another answer in place of the example's target.
TokenRow join_answer(const Example& example, std::string_view answer, const Encode& encode, std::int32_t eos_id,
                     const JoinOptions& options = {});

/// The ids of the source alone as a row would begin with them, to generate from: at most max_tokens, cut as options
/// say. Equal to a row's ids before target_begin where tokenise = apart and the row was not cut.
std::vector<std::int32_t> prompt_ids(std::string_view source, const Encode& encode, const JoinOptions& options = {});
std::vector<std::int32_t> prompt_ids(const Example& example, const Encode& encode, const JoinOptions& options = {});

/// The texts as they are encoded: separator applied, without EOS.
struct JoinedTexts {
  std::string source, target;
};
JoinedTexts separate(std::string_view source, std::string_view target, JoinOptions::Separator separator);

}  // namespace quiver::data
