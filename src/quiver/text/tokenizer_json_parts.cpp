// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/tokenizer_json_parts.h"

#include "quiver/text/pretokenizer_patterns.h"
#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

constexpr int kMaxDepth = 8;
constexpr std::size_t kMaxSteps = 64;

// A Split or Replace pattern: {"Regex": "..."} or {"String": "..."}.
Regex read_pattern(const JsonView& pattern) {
  if (pattern.has("Regex")) {
    const auto regex = pattern.at("Regex");
    return Regex::compile(regex.string(), regex.place());
  }
  if (pattern.has("String")) {
    const auto text = pattern.at("String");
    return Regex::literal(text.string(), text.place());
  }
  pattern.wrong("a 'Regex' or a 'String'");
}

// Calls `read` for the node, or for each node of a (nested) Sequence whose members stand under `members`.
template <typename Read>
void for_each_component(const JsonView& node, const char* members, const Read& read, std::size_t& steps, int depth) {
  QUIVER_CHECK(depth <= kMaxDepth, format, node.place(), "sequences are nested deeper than {}", kMaxDepth);
  if (node.at("type").string() != "Sequence") {
    QUIVER_CHECK(++steps <= kMaxSteps, format, node.place(), "more than {} steps", kMaxSteps);
    read(node);
    return;
  }
  const auto list = node.at(members);
  for (std::size_t i = 0; i < list.size(); ++i) for_each_component(list.at(i), members, read, steps, depth + 1);
}

template <typename Read>
void for_each_component(const JsonView& node, const char* members, const Read& read) {
  if (node.is_null()) return;
  std::size_t steps = 0;
  for_each_component(node, members, read, steps, 0);
}

SplitBehavior read_behavior(const JsonView& behavior) {
  const auto& name = behavior.string();
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  behavior.refuse("split behavior '" + name + "'");
}

std::string read_replacement(const JsonView& node) {
  const auto replacement = node.at("replacement").string();
  QUIVER_CHECK(!replacement.empty() && character_at(replacement, 0).bytes == replacement.size(), format, node.place(),
               "'replacement' must be one character, found '{}'", replacement);
  return replacement;
}

MetaspaceStep::Prepend read_prepend_scheme(const JsonView& node) {
  if (!node.has("prepend_scheme")) {
    return node.boolean_or("add_prefix_space", true) ? MetaspaceStep::Prepend::always : MetaspaceStep::Prepend::never;
  }
  const auto& scheme = node.at("prepend_scheme").string();
  if (scheme == "always") return MetaspaceStep::Prepend::always;
  if (scheme == "first") return MetaspaceStep::Prepend::first;
  if (scheme == "never") return MetaspaceStep::Prepend::never;
  node.refuse("prepend scheme '" + scheme + "'");
}

PreTokenizerStep read_pre_tokenizer_step(const JsonView& node) {
  const auto& type = node.at("type").string();
  if (type == "Digits") return DigitsStep{node.boolean_or("individual_digits", false)};
  if (type == "Split") {
    return SplitStep{read_pattern(node.at("pattern")), read_behavior(node.at("behavior")),
                     node.boolean_or("invert", false)};
  }
  if (type == "WhitespaceSplit") return WhitespaceSplitStep{};
  if (type == "Metaspace") {
    return MetaspaceStep{read_replacement(node), read_prepend_scheme(node), node.boolean_or("split", true)};
  }
  node.refuse("pre-tokenizer '" + type + "'");
}

NormalizerStep read_normalizer_step(const JsonView& node) {
  const auto& type = node.at("type").string();
  if (type == "NFC") return UnicodeForm::nfc;
  if (type == "NFD") return UnicodeForm::nfd;
  if (type == "NFKC") return UnicodeForm::nfkc;
  if (type == "NFKD") return UnicodeForm::nfkd;
  if (type == "Lowercase") return LowercaseStep{};
  if (type == "Prepend") return PrependStep{node.at("prepend").string()};
  if (type == "Replace") return ReplaceStep{read_pattern(node.at("pattern")), node.at("content").string()};
  if (type == "Strip") return StripStep{node.at("strip_left").boolean(), node.at("strip_right").boolean()};
  if (type == "Precompiled") {
    const auto map = node.at("precompiled_charsmap");
    return CharacterMapStep{
        std::make_shared<const CharacterMap>(CharacterMap::parse_base64(map.string(), map.place()))};
  }
  node.refuse("normalizer '" + type + "'");
}

DecoderStep read_decoder_step(const JsonView& node) {
  const auto& type = node.at("type").string();
  if (type == "ByteLevel") return ByteLevelDecode{};
  if (type == "ByteFallback") return ByteFallbackDecode{};
  if (type == "Fuse") return FuseDecode{};
  if (type == "Replace") return ReplaceDecode{read_pattern(node.at("pattern")), node.at("content").string()};
  if (type == "Metaspace") {
    return MetaspaceDecode{read_replacement(node), read_prepend_scheme(node) != MetaspaceStep::Prepend::never};
  }
  if (type == "Strip") {
    const auto& content = node.at("content").string();
    QUIVER_CHECK(!content.empty(), format, node.place(), "'content' is empty");
    const auto count = [&](const char* name) { return static_cast<std::size_t>(node.at(name).integer(0, 1 << 20)); };
    return StripDecode{content, count("start"), count("stop")};
  }
  node.refuse("decoder '" + type + "'");
}

// One step of a template: the sequence A, or a special token's ids before or after it.
void read_template(const JsonView& node, std::vector<TokenId>& prefix, std::vector<TokenId>& suffix) {
  const auto single = node.at("single");
  const auto tokens = node.at("special_tokens");
  std::vector<TokenId> before;
  bool after_text = false;
  for (std::size_t i = 0; i < single.size(); ++i) {
    const auto step = single.at(i);
    if (step.has("Sequence")) {
      QUIVER_CHECK(!after_text && step.at("Sequence").at("id").string() == "A", format, step.place(),
                   "expected sequence A once");
      after_text = true;
      continue;
    }
    const auto name = step.at("SpecialToken").at("id").string();
    const auto ids = tokens.at(name.c_str()).at("ids");
    for (std::size_t k = 0; k < ids.size(); ++k) {
      (after_text ? suffix : before).push_back(static_cast<TokenId>(ids.at(k).integer(0, kMaxVocabulary - 1)));
    }
  }
  QUIVER_CHECK(after_text, format, single.place(), "the template leaves out the text");
  prefix.insert(prefix.begin(), before.begin(), before.end());
}

}  // namespace

AddedToken read_added_token(const JsonView& token, TokenId id) {
  AddedToken added;
  added.id = id;
  added.content = token.at("content").string();
  added.special = token.boolean_or("special", false);
  added.lstrip = token.boolean_or("lstrip", false);
  added.rstrip = token.boolean_or("rstrip", false);
  added.single_word = token.boolean_or("single_word", false);
  added.normalized = token.boolean_or("normalized", !added.special);
  return added;
}

Normalizer read_normalizer(const JsonView& normalizer) {
  Normalizer steps;
  for_each_component(normalizer, "normalizers",
                     [&](const JsonView& node) { steps.emplace_back(read_normalizer_step(node)); });
  return steps;
}

PreTokenizerParts read_pre_tokenizer(const JsonView& pre_tokenizer) {
  PreTokenizerParts parts;
  for_each_component(pre_tokenizer, "pretokenizers", [&](const JsonView& node) {
    if (parts.byte_level) node.refuse("a step after ByteLevel");
    if (node.at("type").string() != "ByteLevel") {
      parts.steps.emplace_back(read_pre_tokenizer_step(node));
      return;
    }
    parts.byte_level = true;
    if (node.boolean_or("add_prefix_space", true)) parts.steps.emplace_back(PrefixSpaceStep{});
    if (node.boolean_or("use_regex", true)) {
      parts.steps.emplace_back(SplitStep{Regex::compile(kGpt2Pattern, node.place())});
    }
  });
  return parts;
}

Decoder read_decoder(const JsonView& decoder) {
  if (decoder.is_null()) decoder.refuse("a tokenizer without a decoder");
  Decoder steps;
  for_each_component(decoder, "decoders", [&](const JsonView& node) { steps.emplace_back(read_decoder_step(node)); });
  return steps;
}

void read_post_processor(const JsonView& processor, std::vector<TokenId>& prefix, std::vector<TokenId>& suffix) {
  for_each_component(processor, "processors", [&](const JsonView& node) {
    const auto& type = node.at("type").string();
    if (type == "ByteLevel") return;  // only moves offsets, which Quiver does not keep
    if (type != "TemplateProcessing") node.refuse("post-processor '" + type + "'");
    read_template(node, prefix, suffix);
  });
}

}  // namespace quiver::text
