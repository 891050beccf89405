// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/tokenizer_json.h"

#include <algorithm>
#include <unordered_map>

#include "quiver/text/json_view.h"
#include "quiver/text/tokenizer_json_parts.h"

namespace quiver::text {
namespace {

using Json = JsonView::Json;

void check_plain_bpe(const JsonView& model) {
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.string_or(affix, "").empty()) model.at(affix).refuse(affix);
  }
  if (model.has("dropout") && model.at("dropout").value() != 0.0) model.at("dropout").refuse("dropout");
}

std::vector<std::string> read_pieces(const JsonView& vocabulary) {
  if (!vocabulary.value().is_object()) vocabulary.wrong("an object");
  std::vector<std::string> pieces;
  for (const auto& [piece, id] : vocabulary.value().items()) {
    const auto fits = id.is_number_unsigned() && id.get<std::uint64_t>() < kMaxVocabulary;
    QUIVER_CHECK(fits, format, vocabulary.place(), "piece '{}': expected an id below {}, found {}", piece,
                 kMaxVocabulary, id.is_primitive() ? id.dump() : id.type_name());
    const auto index = id.get<std::size_t>();
    if (index >= pieces.size()) pieces.resize(std::max(index + 1, vocabulary.value().size()));
    QUIVER_CHECK(pieces[index].empty(), format, vocabulary.place(), "id {} belongs to two pieces, '{}' and '{}'", index,
                 pieces[index], piece);
    pieces[index] = piece;
  }
  while (!pieces.empty() && pieces.back().empty()) pieces.pop_back();
  return pieces;
}

// "a b", or since 2024 ["a", "b"].
std::pair<std::string, std::string> read_merge(const JsonView& merge) {
  if (merge.value().is_array()) {
    if (merge.size() != 2) merge.wrong("two pieces");
    return {merge.at(std::size_t{0}).string(), merge.at(std::size_t{1}).string()};
  }
  return split_merge(merge.string(), merge.place());
}

BpeVocabulary read_vocabulary(const JsonView& model) {
  BpeVocabulary vocabulary;
  vocabulary.pieces = read_pieces(model.at("vocab"));
  const auto merges = model.at("merges");
  const auto count = merges.size();
  vocabulary.merges.reserve(count);
  for (std::size_t i = 0; i < count; ++i) vocabulary.merges.push_back(read_merge(merges.at(i)));
  return vocabulary;
}

void read_bpe(const JsonView& model, TokenizerParts& parts) {
  check_plain_bpe(model);
  parts.vocabulary = read_vocabulary(model);
  parts.bpe.byte_fallback = model.boolean_or("byte_fallback", false);
  parts.bpe.ignore_merges = model.boolean_or("ignore_merges", false);
  parts.bpe.fuse_unknown = model.boolean_or("fuse_unk", false);
  parts.bpe.unknown = model.string_or("unk_token", "");
}

std::vector<UnigramPiece> read_scored_pieces(const JsonView& vocabulary) {
  const auto count = vocabulary.size();
  QUIVER_CHECK(count > 0 && count <= kMaxVocabulary, format, vocabulary.place(), "{} pieces; expected 1 to {}", count,
               kMaxVocabulary);
  std::vector<UnigramPiece> pieces;
  pieces.reserve(count);
  for (const auto& entry : vocabulary.value()) {
    const bool fits = entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number();
    QUIVER_CHECK(fits, format, vocabulary.place(), "piece {}: expected [text, score], found {}", pieces.size(),
                 entry.dump(-1, ' ', true).substr(0, 80));
    UnigramPiece piece;
    piece.text = entry[0].get<std::string>();
    piece.score = entry[1].get<double>();
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

UnigramVocabulary read_unigram(const JsonView& model) {
  constexpr double kUnknownPenalty = 10;  // below the lowest score
  UnigramVocabulary unigram;
  unigram.pieces = read_scored_pieces(model.at("vocab"));
  const auto highest = static_cast<std::int64_t>(unigram.pieces.size()) - 1;
  if (model.has("unk_id")) unigram.unknown = static_cast<TokenId>(model.at("unk_id").integer(0, highest));
  const auto lowest = std::min_element(unigram.pieces.begin(), unigram.pieces.end(),
                                       [](const auto& a, const auto& b) { return a.score < b.score; });
  unigram.unknown_score = lowest->score - kUnknownPenalty;
  unigram.byte_fallback = model.boolean_or("byte_fallback", false);
  return unigram;
}

// Early files do not name the model.
std::string model_type(const JsonView& model) {
  return model.string_or("type", model.has("unk_id") && !model.has("merges") ? "Unigram" : "BPE");
}

JsonView member_or_null(const JsonView& root, const char* name) {
  static const Json null;
  return root.has(name) ? root.at(name) : JsonView(null, root.place(), name);
}

std::vector<AddedToken> read_added_tokens(const JsonView& root) {
  std::vector<AddedToken> tokens;
  if (!root.has("added_tokens")) return tokens;
  std::unordered_map<TokenId, std::size_t> by_id;
  const auto list = root.at("added_tokens");
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto entry = list.at(i);
    auto token = read_added_token(entry, static_cast<TokenId>(entry.at("id").integer(0, kMaxVocabulary - 1)));
    // A repetition word for word says nothing new; any other of its id is refused with the rest of the parts.
    const auto [first, added] = by_id.emplace(token.id, tokens.size());
    if (added || tokens[first->second] != token) tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace

TokenizerParts parse_tokenizer_json(const std::string& bytes, const std::string& file) {
  const auto json = parse_json(bytes, file);
  const JsonView root(json, file);
  const auto model = root.at("model");
  const auto type = model_type(model);
  TokenizerParts parts;
  if (type == "BPE") {
    read_bpe(model, parts);
  } else if (type == "Unigram") {
    parts.unigram = read_unigram(model);
  } else {
    model.refuse("tokenizer model '" + type + "'");
  }
  parts.added = read_added_tokens(root);
  parts.normalizer = read_normalizer(member_or_null(root, "normalizer"));
  auto pre_tokenizer = read_pre_tokenizer(member_or_null(root, "pre_tokenizer"));
  parts.pre_tokenizer = std::move(pre_tokenizer.steps);
  parts.bpe.byte_level = pre_tokenizer.byte_level;
  if (parts.unigram && pre_tokenizer.byte_level) root.at("pre_tokenizer").refuse("ByteLevel with a unigram model");
  read_post_processor(member_or_null(root, "post_processor"), parts.prefix, parts.suffix);
  parts.decoder = read_decoder(member_or_null(root, "decoder"));
  return parts;
}

}  // namespace quiver::text
