// SPDX-License-Identifier: Apache-2.0
// How texts become rows of tokens: what the user chose, else what the experts in use were trained with, else what suits
// the model. Training, evaluation, generation and chats all ask here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quiver/base/options.h"
#include "quiver/data/join.h"
#include "quiver/workspace/experts.h"
#include "quiver/workspace/open_model.h"

namespace quiver::workspace {

/// What a user may choose; `auto` is left to the experts and the model.
struct JoinChoice {
  std::string rules = "auto";      ///< auto, quiver (the default rules), mttl
  std::string separator = "auto";  ///< auto, newline, mttl-space, none
  std::string tokenise = "auto";   ///< auto, apart, joint
  std::string truncate = "auto";   ///< auto, left, right
  bool eos = false, no_eos = false;
  bool bos = false, no_bos = false;
  bool whole_sequence = false;
  std::int64_t max_tokens = 1024;
};
/// All of them, for rows; the rules of prompts alone are rules, separator, bos, no_bos.
void describe(JoinChoice& choice, OptionSet& set);
void describe_prompts(JoinChoice& choice, OptionSet& set);

/// The rules that an expert was trained with.
struct KnownRules {
  std::string expert;
  data::JoinOptions join;
};
/// Of the experts in use that keep any: experts of a library and adapter folders that came from one.
std::vector<KnownRules> known_rules(const ExpertSet& experts);
/// Of a trained router those that it was trained with; else those of the experts that a route names (expert:NAME,
/// mix:NAME=..); else those of all, also for the base model, so that it is compared on the same rows.
std::vector<KnownRules> rules_of_route(const ExpertSet& experts, const std::string& route);

/// The most vectors that an expert reads before a prompt: soft prompts, prefixes.
std::int64_t vectors_before(const ExpertSet& experts);

struct TextRules {
  data::JoinOptions join;
  std::vector<std::string> notes;  ///< experts that disagree; a choice that differs from what they were trained with
};

/// Rows for a model. What the choice leaves open is, rule by rule, as the `known` experts were trained, and the model's
/// default where they do not agree. Rows are no longer than the model's context less `vectors_before` (soft prompts,
/// prefixes). Throws Error{usage|unsupported} where choices contradict each other or the model.
TextRules text_rules(const JoinChoice& choice, const LoadedModel& loaded, const std::vector<KnownRules>& known = {},
                     std::int64_t vectors_before = 0);
/// The same for prompts that somebody typed, under the route's experts: without experts that say otherwise, and without
/// --rules, nothing is put behind them; they are never cut. What is in the notes is said.
data::JoinOptions rules_for_prompts(const JoinChoice& choice, const LoadedModel& loaded, const RoutedExperts& routed,
                                    Progress& said);

/// A prompt as rows begin under the rules. Throws Error{usage} where it is empty.
std::vector<std::int32_t> prompt_ids(const std::string& text, const data::JoinOptions& rules,
                                     const text::Tokenizer& tokenizer);

}  // namespace quiver::workspace
