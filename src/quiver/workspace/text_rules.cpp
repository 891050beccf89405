// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/text_rules.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/routing/route_spec.h"
#include "quiver/routing/saved_router.h"
#include "quiver/text/encode_prompt.h"
#include "quiver/text/unicode.h"

namespace quiver::workspace {
namespace {

using Join = data::JoinOptions;
using nlohmann::json;

constexpr std::array<const char*, 3> kSeparators{"newline", "mttl-space", "none"};
constexpr std::array<const char*, 2> kTokenise{"apart", "joint"}, kMask{"target-alone", "source-alone"},
    kTruncate{"left", "right"};

/// One rule: its option, its value as it is typed, whether the user chose it.
struct Rule {
  const char* option;
  std::string (*spelled)(const Join&);
  void (*take)(const Join& from, Join& to);
  bool (*chosen)(const JoinChoice&);
};

template <auto kMember>
void take(const Join& from, Join& to) {
  to.*kMember = from.*kMember;
}

template <const auto& kNames, auto kMember>
std::string name_of(const Join& join) {
  return kNames[static_cast<std::size_t>(join.*kMember)];
}

template <auto kMember>
std::string true_or_false(const Join& join) {
  return join.*kMember ? "true" : "false";
}

std::string spelled_bos(const Join& join) {
  return join.begin_token < 0 ? "false" : fmt::format("true (token {})", join.begin_token);
}

bool never_chosen(const JoinChoice&) { return false; }

/// What experts agree on and choices are compared by.
const std::array<Rule, 7> kRules{
    {{"separator", name_of<kSeparators, &Join::separator>, take<&Join::separator>,
      [](const JoinChoice& c) { return c.separator != "auto"; }},
     {"tokenise", name_of<kTokenise, &Join::tokenise>, take<&Join::tokenise>,
      [](const JoinChoice& c) { return c.tokenise != "auto"; }},
     {"mask", name_of<kMask, &Join::mask>, take<&Join::mask>, never_chosen},
     {"truncate", name_of<kTruncate, &Join::truncate>, take<&Join::truncate>,
      [](const JoinChoice& c) { return c.truncate != "auto"; }},
     {"cut together", true_or_false<&Join::truncate_jointly>, take<&Join::truncate_jointly>, never_chosen},
     {"eos", true_or_false<&Join::append_eos>, take<&Join::append_eos>,
      [](const JoinChoice& c) { return c.eos || c.no_eos; }},
     {"bos", spelled_bos, take<&Join::begin_token>, [](const JoinChoice& c) { return c.bos || c.no_bos; }}}};

template <std::size_t N>
std::size_t place_of(const std::array<const char*, N>& names, const std::string& name, const char* option) {
  const auto found = std::find(names.begin(), names.end(), name);
  QUIVER_CHECK(found != names.end(), usage, option, "'{}', expected auto, {}", name,
               join(std::vector<std::string>(names.begin(), names.end()), ", "));
  return static_cast<std::size_t>(found - names.begin());
}

/// The one token that the tokenizer puts before a text or behind it; -1: none.
std::int32_t one_token(const std::vector<text::TokenId>& tokens, const char* place) {
  QUIVER_CHECK(tokens.size() <= 1, unsupported, "model", "its tokenizer puts {} tokens {}, expected one or none",
               tokens.size(), place);
  return tokens.empty() ? -1 : tokens[0];
}

std::int32_t begin_token(const JoinChoice& choice, const text::Tokenizer& tokenizer) {
  if (choice.no_bos) return -1;
  if (!choice.bos) return one_token(tokenizer.prefix(), "before a text (--bos and --no-bos decide otherwise)");
  QUIVER_CHECK(tokenizer.bos_id(), unsupported, "--bos", "the tokenizer names no begin-of-sequence token");
  return *tokenizer.bos_id();
}

/// What rows begin with where nothing else stands before their target, as lm-evaluation-harness has it.
std::int32_t start_token(const text::Tokenizer& tokenizer) {
  if (tokenizer.bos_id()) return *tokenizer.bos_id();
  return tokenizer.eos_ids().empty() ? -1 : tokenizer.eos_ids()[0];
}

void set_mttl(Join& join) {
  join.separator = Join::Separator::mttl_space;
  join.tokenise = Join::Tokenise::joint;
  join.mask = Join::Mask::target_alone;
  join.truncate_jointly = true;
}

/// The rules of rows that stand in expert.json, where they are whole.
std::optional<Join> stored_rules(const json& training) {
  if (!training.is_object()) return std::nullopt;
  const auto options = training.find("options");
  if (options == training.end() || !options->is_object()) return std::nullopt;
  const auto found = options->find("join");
  if (found == options->end() || !found->is_object()) return std::nullopt;
  const auto number = [&](const char* key, std::int64_t below) {
    const auto value = found->value(key, json());
    const bool known = value.is_number_integer() && value.get<std::int64_t>() >= 0 && value.get<std::int64_t>() < below;
    return known ? value.get<std::int64_t>() : std::int64_t{-1};
  };
  const auto flag = [&](const char* key) {
    const auto value = found->value(key, json());
    return value.is_boolean() && value.get<bool>();
  };
  const auto separator = number("separator", 3), tokenise = number("tokenise", 2), mask = number("mask", 2),
             truncate = number("truncate", 2);
  if (separator < 0 || tokenise < 0 || mask < 0 || truncate < 0) return std::nullopt;
  Join join;
  join.separator = static_cast<Join::Separator>(separator);
  join.tokenise = static_cast<Join::Tokenise>(tokenise);
  join.mask = static_cast<Join::Mask>(mask);
  join.truncate = static_cast<Join::Truncate>(truncate);
  join.truncate_jointly = flag("truncate_jointly");
  join.append_eos = flag("append_eos");
  join.begin_token = static_cast<std::int32_t>(number("begin_token", std::numeric_limits<std::int32_t>::max()));
  return join;
}

/// The first two experts that were trained under different values of a rule, in words; empty where all agree.
std::string disagreement(const Rule& rule, const std::vector<KnownRules>& known) {
  const auto first = rule.spelled(known[0].join);
  for (const auto& other : known) {
    if (const auto second = rule.spelled(other.join); second != first)
      return fmt::format("{} ('{}' was trained with {}, '{}' with {})", rule.option, known[0].expert, first,
                         other.expert, second);
  }
  return "";
}

/// What experts were trained with, where they agree and the user left it open; the others are said.
void take_agreed(const JoinChoice& choice, const std::vector<KnownRules>& known, Join& join,
                 std::vector<std::string>& notes) {
  if (known.empty() || choice.rules != "auto") return;
  std::vector<std::string> disputed;
  for (const auto& rule : kRules) {
    if (rule.chosen(choice)) continue;
    const auto differ = disagreement(rule, known);
    if (differ.empty())
      rule.take(known[0].join, join);
    else
      disputed.push_back(differ);
  }
  if (!disputed.empty())
    notes.push_back("experts do not agree on how texts are joined, which is as by --rules quiver in: " +
                    quiver::join(disputed, ", "));
}

void choose(const JoinChoice& choice, Join& join) {
  if (choice.separator != "auto")
    join.separator = static_cast<Join::Separator>(place_of(kSeparators, choice.separator, "--separator"));
  if (choice.tokenise != "auto")
    join.tokenise = static_cast<Join::Tokenise>(place_of(kTokenise, choice.tokenise, "--tokenise"));
  if (choice.truncate != "auto")
    join.truncate = static_cast<Join::Truncate>(place_of(kTruncate, choice.truncate, "--truncate"));
  if (choice.eos || choice.no_eos) join.append_eos = choice.eos;
}

/// What is not as the experts were trained, who agree on it.
void say_differences(const Join& chosen, const std::vector<KnownRules>& known, std::vector<std::string>& notes) {
  std::vector<std::string> differences;
  for (const auto& rule : kRules) {
    if (known.empty() || !disagreement(rule, known).empty()) continue;
    const auto used = rule.spelled(chosen), trained = rule.spelled(known[0].join);
    if (used != trained) differences.push_back(fmt::format("{} {} (trained with {})", rule.option, used, trained));
  }
  if (!differences.empty())
    notes.push_back(fmt::format("texts are not joined as {} trained: {}",
                                known.size() == 1 ? "expert '" + known[0].expert + "' was" : "the experts were",
                                join(differences, ", ")));
}

/// The rules without the limits of the model.
TextRules resolved(const JoinChoice& choice, const LoadedModel& loaded, const std::vector<KnownRules>& known,
                   Join::Separator natural) {
  QUIVER_CHECK(!(choice.eos && choice.no_eos), usage, "--eos, --no-eos", "both are given; give one of the two");
  QUIVER_CHECK(!(choice.bos && choice.no_bos), usage, "--bos, --no-bos", "both are given; give one of the two");
  QUIVER_CHECK(choice.rules == "auto" || choice.rules == "quiver" || choice.rules == "mttl", usage, "--rules",
               "'{}', expected auto, quiver or mttl", choice.rules);
  const auto& tokenizer = *loaded.text.tokenizer;
  TextRules out;
  auto& join = out.join;
  join.separator = natural;
  join.begin_token = begin_token(choice, tokenizer);
  take_agreed(choice, known, join, out.notes);
  if (choice.rules == "mttl") set_mttl(join);
  choose(choice, join);
  join.start_token = start_token(tokenizer);
  join.turn_end_token = text::turn_end(loaded.text).value_or(-1);
  say_differences(join, known, out.notes);
  // Sources of an encoder-decoder end as the tokenizer ends any text.
  if (loaded.model.config().encoder_decoder()) join.source_end_token = one_token(tokenizer.suffix(), "behind a text");
  return out;
}

/// The rules of a router that the library keeps under the route's argument or name. One that cannot be read is the
/// route's to complain of.
std::optional<KnownRules> rules_of_router(const ExpertSet& experts, const routing::RouteSpec& spec) {
  for (const auto& name : {spec.argument, spec.name}) {
    if (!experts.library || name.empty() || spec.name == "expert" || !routing::has_router(*experts.library, name))
      continue;
    try {
      if (auto join = stored_rules(routing::read_router(*experts.library, name).training))
        return KnownRules{name, *join};
    } catch (const Error&) {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace

void describe_prompts(JoinChoice& c, OptionSet& set) {
  set.group("texts");
  set.choice("rules", c.rules, {"auto", "quiver", "mttl"},
             "how source and target are joined, as a whole: auto: as the experts in use were trained; quiver: the "
             "default; mttl: MTTL's. A prompt without experts and rules is read as it stands");
  set.choice("separator", c.separator, {"auto", "newline", "mttl-space", "none"},
             "between source and target; auto: as the rules say, else none for encoder-decoders, newline for others");
  set.flag("bos", c.bos, "begin with the model's begin-of-sequence token, whatever its tokenizer says");
  set.flag("no_bos", c.no_bos, "begin without it, whatever its tokenizer says");
}

void describe(JoinChoice& c, OptionSet& set) {
  describe_prompts(c, set);
  set.choice("tokenise", c.tokenise, {"auto", "apart", "joint"},
             "source and target; auto: as the rules say, else apart");
  set.choice("truncate", c.truncate, {"auto", "left", "right"},
             "the end of a long source that is cut; auto: as the rules say, else left");
  set.integer("max_tokens", c.max_tokens, at_least(2), "longest row, in tokens, within the model's context");
  set.flag("no_eos", c.no_eos, "do not end targets with the end-of-sequence token");
  set.flag("eos", c.eos, "end them with it, whatever the experts were trained with");
  set.flag("whole_sequence", c.whole_sequence, "the loss (perplexity) covers the source too, not the target alone");
}

std::vector<KnownRules> known_rules(const ExpertSet& experts) {
  std::vector<KnownRules> out;
  for (std::size_t e = 0; e < experts.training.size(); ++e) {
    if (auto join = stored_rules(experts.training[e])) out.push_back({experts.names()[e], *join});
  }
  return out;
}

std::vector<KnownRules> rules_of_route(const ExpertSet& experts, const std::string& route) {
  const auto spec = routing::parse_route(route);
  if (const auto router = rules_of_router(experts, spec)) return {*router};
  const auto known = known_rules(experts);
  std::vector<std::string> named;
  if (spec.name == "expert") named.push_back(spec.argument);
  if (spec.name == "mix") {
    for (const auto& [name, weight] : spec.options) named.push_back(name);
  }
  std::vector<KnownRules> out;
  for (const auto& rules : known) {
    if (std::find(named.begin(), named.end(), rules.expert) != named.end()) out.push_back(rules);
  }
  return named.empty() ? known : out;
}

std::int64_t vectors_before(const ExpertSet& experts) {
  std::int64_t most = 0;
  for (std::int64_t e = 0; e < experts.bank->size(); ++e) {
    const auto& vectors = experts.bank->soft_prompt(e);
    if (vectors.defined()) most = std::max(most, vectors.size(0));
  }
  return most;
}

TextRules text_rules(const JoinChoice& choice, const LoadedModel& loaded, const std::vector<KnownRules>& known,
                     std::int64_t vectors_before) {
  const auto& config = loaded.model.config();
  auto out =
      resolved(choice, loaded, known, config.encoder_decoder() ? Join::Separator::none : Join::Separator::newline);
  const auto room = config.max_positions - vectors_before;
  QUIVER_CHECK(room >= 2, usage, "model", "its context of {} tokens has no room behind {} vectors before the prompt",
               config.max_positions, vectors_before);
  out.join.max_tokens = static_cast<std::int32_t>(std::min(choice.max_tokens, room));
  out.join.whole_sequence_loss = choice.whole_sequence;
  data::check(out.join);
  return out;
}

data::JoinOptions rules_for_prompts(const JoinChoice& choice, const LoadedModel& loaded, const RoutedExperts& routed,
                                    Progress& said) {
  const auto known = rules_of_route(routed.experts, routed.route);
  const bool bare = (known.empty() && choice.rules == "auto") || loaded.model.config().encoder_decoder();
  auto out = resolved(choice, loaded, known, bare ? Join::Separator::none : Join::Separator::newline);
  for (const auto& note : out.notes) said.say(note);
  out.join.max_tokens = std::numeric_limits<std::int32_t>::max();
  return out.join;
}

std::vector<std::int32_t> prompt_ids(const std::string& text, const Join& rules, const text::Tokenizer& tokenizer) {
  QUIVER_CHECK(!text.empty(), usage, "prompt", "the text is empty, expected at least a character");
  const auto valid = text::valid_utf8_bytes(text);
  QUIVER_CHECK(valid == text.size(), usage, "prompt", "byte {} of {} is not UTF-8", valid + 1, text.size());
  return data::prompt_ids(
      text, [&](std::string_view part) { return tokenizer.encode(part); }, rules);
}

}  // namespace quiver::workspace
