// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/tokenizer_sentencepiece.h"

#include <algorithm>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/text/protobuf.h"
#include "quiver/text/tokenizer_json_parts.h"
#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

enum class PieceType : std::uint64_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct ModelPiece {
  std::string text{};
  float score = 0;
  PieceType type = PieceType::normal;
};

struct TrainerSettings {
  std::uint64_t model_type = 1;
  bool space_as_suffix = false, byte_fallback = false;
  std::string bos = "<s>", eos = "</s>";
};

struct NormalizerSettings {
  std::string_view character_map{};
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

struct Model {
  std::vector<ModelPiece> pieces;
  TrainerSettings trainer;
  NormalizerSettings normalizer, denormalizer;
};

ModelPiece read_piece(std::string_view bytes, const std::string& place) {
  ModelPiece piece;
  for (ProtobufReader reader(bytes, place); reader.next();) {
    if (reader.field() == 1) piece.text = reader.bytes();
    if (reader.field() == 2) piece.score = reader.float32();
    if (reader.field() == 3) piece.type = static_cast<PieceType>(reader.varint());
  }
  const bool known = piece.type >= PieceType::normal && piece.type <= PieceType::byte;
  QUIVER_CHECK(known, format, place, "piece type {}", static_cast<std::uint64_t>(piece.type));
  QUIVER_CHECK(!piece.text.empty() && is_valid_utf8(piece.text), format, place, "expected UTF-8 text, found {} bytes",
               piece.text.size());
  return piece;
}

TrainerSettings read_trainer(std::string_view bytes, const std::string& place) {
  TrainerSettings trainer;
  for (ProtobufReader reader(bytes, place); reader.next();) {
    if (reader.field() == 3) trainer.model_type = reader.varint();
    if (reader.field() == 24) trainer.space_as_suffix = reader.boolean();
    if (reader.field() == 35) trainer.byte_fallback = reader.boolean();
    if (reader.field() == 46) trainer.bos = reader.bytes();
    if (reader.field() == 47) trainer.eos = reader.bytes();
  }
  return trainer;
}

NormalizerSettings read_normalizer_settings(std::string_view bytes, const std::string& place) {
  NormalizerSettings normalizer;
  for (ProtobufReader reader(bytes, place); reader.next();) {
    if (reader.field() == 2) normalizer.character_map = reader.bytes();
    if (reader.field() == 3) normalizer.add_dummy_prefix = reader.boolean();
    if (reader.field() == 4) normalizer.remove_extra_whitespaces = reader.boolean();
    if (reader.field() == 5) normalizer.escape_whitespaces = reader.boolean();
  }
  return normalizer;
}

Model read_model(std::string_view bytes, const std::string& file) {
  Model model;
  for (ProtobufReader reader(bytes, file); reader.next();) {
    switch (reader.field()) {
      case 1:
        QUIVER_CHECK(model.pieces.size() < kMaxVocabulary, format, file, "more than {} pieces", kMaxVocabulary);
        model.pieces.push_back(read_piece(reader.bytes(), fmt::format("{}: piece {}", file, model.pieces.size())));
        break;
      case 2:
        model.trainer = read_trainer(reader.bytes(), file + ": trainer_spec");
        break;
      case 3:
        model.normalizer = read_normalizer_settings(reader.bytes(), file + ": normalizer_spec");
        break;
      case 5:
        model.denormalizer = read_normalizer_settings(reader.bytes(), file + ": denormalizer_spec");
        break;
      default:
        break;
    }
  }
  QUIVER_CHECK(!model.pieces.empty(), format, file, "a SentencePiece model without pieces");
  return model;
}

void check_supported(const Model& model, const std::string& file) {
  constexpr const char* kTypes[] = {"", "unigram", "BPE", "word", "char"};
  const auto type = model.trainer.model_type;
  QUIVER_CHECK(type >= 1 && type < std::size(kTypes), format, file + ": trainer_spec", "model type {}", type);
  QUIVER_CHECK(type == 1, unsupported, file,
               "a SentencePiece model of type {} is not supported, only unigram; a tokenizer.json beside it would be",
               kTypes[type]);
  QUIVER_CHECK(!model.trainer.space_as_suffix, unsupported, file + ": trainer_spec",
               "treat_whitespace_as_suffix is not supported");
  QUIVER_CHECK(model.denormalizer.character_map.empty(), unsupported, file + ": denormalizer_spec",
               "a character map for decoded text is not supported");
}

// A user-defined piece outdoes every path of other pieces: its score is all but 0, by SentencePiece's own formula.
double score_of(const ModelPiece& piece, float highest) {
  if (piece.type != PieceType::user_defined) return piece.score;
  return static_cast<double>(static_cast<float>(piece.text.size()) * highest) - 0.1;
}

UnigramVocabulary make_vocabulary(const Model& model, const std::string& file) {
  constexpr float kUnknownPenalty = 10;  // below the lowest score of a normal piece
  float lowest = std::numeric_limits<float>::max(), highest = std::numeric_limits<float>::min();
  for (const auto& piece : model.pieces) {
    if (piece.type != PieceType::normal) continue;
    lowest = std::min(lowest, piece.score);
    highest = std::max(highest, piece.score);
  }
  UnigramVocabulary vocabulary;
  vocabulary.precision = ScorePrecision::float32;
  vocabulary.unknown_score = lowest - kUnknownPenalty;
  vocabulary.byte_fallback = model.trainer.byte_fallback;
  for (const auto& piece : model.pieces) {
    if (piece.type == PieceType::unknown) {
      QUIVER_CHECK(vocabulary.unknown < 0, format, file, "two unknown pieces, {} and {}", vocabulary.unknown,
                   vocabulary.pieces.size());
      vocabulary.unknown = static_cast<TokenId>(vocabulary.pieces.size());
    }
    const bool in_text = piece.type == PieceType::normal || piece.type == PieceType::user_defined;
    vocabulary.pieces.push_back({piece.text, score_of(piece, highest), in_text});
  }
  QUIVER_CHECK(vocabulary.unknown >= 0, format, file, "no unknown piece");
  return vocabulary;
}

AddedToken special_token(std::size_t id, const std::string& content) {
  AddedToken token;
  token.id = static_cast<TokenId>(id);
  token.content = content;
  token.special = true;
  return token;
}

void add_special_tokens(const Model& model, TokenizerParts& parts) {
  for (std::size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    if (piece.type != PieceType::control && piece.type != PieceType::unknown) continue;
    parts.added.push_back(special_token(id, piece.text));
    if (piece.text == model.trainer.bos) parts.bos_id = static_cast<TokenId>(id);
    if (piece.text == model.trainer.eos) parts.eos_ids = {static_cast<TokenId>(id)};
  }
}

Normalizer make_normalizer(const Model& model, const std::string& file) {
  Normalizer steps;
  const auto& settings = model.normalizer;
  if (!settings.character_map.empty()) {
    CharacterMapStep step;
    const auto place = file + ": normalizer_spec.precompiled_charsmap";
    step.map = std::make_shared<const CharacterMap>(CharacterMap::parse(settings.character_map, place));
    step.matching = MapMatching::longest;
    for (const auto& piece : model.pieces) {
      if (piece.type == PieceType::user_defined) step.kept.push_back(piece.text);
    }
    steps.emplace_back(std::move(step));
  }
  steps.emplace_back(
      SpacesStep{settings.remove_extra_whitespaces, settings.add_dummy_prefix, settings.escape_whitespaces});
  return steps;
}

}  // namespace

TokenizerParts parse_sentencepiece(std::string_view bytes, const std::string& file) {
  const auto model = read_model(bytes, file);
  check_supported(model, file);
  TokenizerParts parts;
  parts.unigram = make_vocabulary(model, file);
  parts.normalizer = make_normalizer(model, file);
  if (model.trainer.byte_fallback) parts.decoder.emplace_back(ByteFallbackDecode{});
  const bool space_first = model.normalizer.add_dummy_prefix || model.normalizer.remove_extra_whitespaces;
  parts.decoder.emplace_back(MetaspaceDecode{std::string(kMetaspace), space_first});
  add_special_tokens(model, parts);
  return parts;
}

void add_t5_convention(TokenizerParts& parts, std::size_t sentinels, const std::string& file) {
  QUIVER_CHECK(!parts.eos_ids.empty(), format, file, "T5's texts end with EOS, but no control piece is called so");
  parts.suffix = {parts.eos_ids.front()};
  auto& pieces = parts.unigram->pieces;
  const auto name = [](std::size_t number) { return fmt::format("<extra_id_{}>", number); };
  if (std::any_of(pieces.begin(), pieces.end(), [&](const auto& piece) { return piece.text == name(0); })) return;
  QUIVER_CHECK(pieces.size() + sentinels <= kMaxVocabulary, format, file, "{} sentinels after {} pieces", sentinels,
               pieces.size());
  for (auto number = sentinels; number-- > 0;) {
    parts.added.push_back(special_token(pieces.size(), name(number)));
    pieces.push_back({name(number), 0.0, false});
  }
}

}  // namespace quiver::text
