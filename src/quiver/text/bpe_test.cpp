// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/bpe.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"
#include "quiver/base/random.h"

namespace quiver::text {
namespace {

// Merges one pair at a time, scanning the whole word for the lowest rank: the definition.
std::vector<TokenId> merge_plainly(const BpeVocabulary& vocabulary, const Bpe& bpe, const std::string& word) {
  std::vector<std::string> symbols;
  for (const char c : word) symbols.emplace_back(1, c);
  for (bool merged = true; merged;) {
    merged = false;
    for (std::size_t rank = 0; rank < vocabulary.merges.size() && !merged; ++rank) {
      const auto& [left, right] = vocabulary.merges[rank];
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
        if (symbols[i] != left || symbols[i + 1] != right) continue;
        symbols[i] += right;
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        merged = true;
        break;
      }
    }
  }
  std::vector<TokenId> ids;
  for (const auto& symbol : symbols) ids.push_back(bpe.id_of(symbol).value());
  return ids;
}

BpeVocabulary random_vocabulary(Random& random) {
  BpeVocabulary vocabulary;
  vocabulary.pieces = {"a", "b", "c", "d"};
  while (vocabulary.pieces.size() < 60) {
    const auto pick = [&] { return vocabulary.pieces[random.below(vocabulary.pieces.size())]; };
    const auto left = pick(), right = pick();
    const auto& pieces = vocabulary.pieces;
    const auto joined = left + right;
    if (joined.size() > 12) continue;
    const std::pair merge(left, right);
    if (std::find(vocabulary.merges.begin(), vocabulary.merges.end(), merge) != vocabulary.merges.end()) continue;
    if (std::find(pieces.begin(), pieces.end(), joined) == pieces.end()) vocabulary.pieces.push_back(joined);
    vocabulary.merges.push_back(merge);
  }
  return vocabulary;
}

TEST(Bpe, EqualsTheDefinitionOnRandomVocabulariesAndWords) {
  Random random(1);
  for (int round = 0; round < 12; ++round) {
    const auto vocabulary = random_vocabulary(random);
    const Bpe bpe(vocabulary, {.byte_level = true}, "test");
    for (const std::size_t length : {1, 2, 3, 7, 20, 47, 48, 49, 50, 200}) {
      std::string word;
      while (word.size() < length) word += static_cast<char>('a' + random.below(4));
      std::vector<TokenId> ids;
      bpe.encode(word, ids);
      ASSERT_EQ(ids, merge_plainly(vocabulary, bpe, word)) << word;
    }
  }
}

TEST(Bpe, IgnoredMergesTakeAWholeWordAsItIs) {
  BpeVocabulary vocabulary{{"a", "b", "ab", "abb"}, {{"a", "b"}}};
  std::vector<TokenId> ids;
  Bpe(vocabulary, {.byte_level = true, .ignore_merges = true}, "test").encode("abb", ids);
  EXPECT_EQ(ids, std::vector<TokenId>{3});
  ids.clear();
  Bpe(vocabulary, {.byte_level = true}, "test").encode("abb", ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{2, 1}));
}

TEST(Bpe, UnknownCharactersAreDroppedWithoutAnUnknownPiece) {
  std::vector<TokenId> ids;
  Bpe({{"a"}, {}}, {}, "test").encode("xax", ids);
  EXPECT_EQ(ids, std::vector<TokenId>{0});
  ids.clear();
  Bpe({{"a", "?"}, {}}, {.fuse_unknown = true, .unknown = "?"}, "test").encode("xxaxx", ids);
  EXPECT_EQ(ids, (std::vector<TokenId>{1, 0, 1}));
}

TEST(Bpe, AVeryLongWordIsFast) {
  BpeVocabulary vocabulary{{"a"}, {}};
  for (std::string piece = "a"; piece.size() < 1024; piece += piece) {
    vocabulary.merges.emplace_back(piece, piece);
    vocabulary.pieces.push_back(piece + piece);
  }
  const Bpe bpe(vocabulary, {.byte_level = true}, "test");
  std::vector<TokenId> ids;
  bpe.encode(std::string(1 << 18, 'a'), ids);
  EXPECT_EQ(ids.size(), 256u);
}

TEST(Bpe, RefusesWhatDoesNotFitTogether) {
  const auto build = [](BpeVocabulary vocabulary, BpeOptions options = {}) {
    return Bpe(std::move(vocabulary), std::move(options), "here");
  };
  EXPECT_THROW(build({{"a", "a"}, {}}), Error);
  EXPECT_THROW(build({{"a", "b"}, {{"a", "b"}}}), Error);
  EXPECT_THROW(build({{"a", "ab"}, {{"a", "b"}}}), Error);
  EXPECT_THROW(build({{"a"}, {}}, {.unknown = "?"}), Error);
  EXPECT_THROW(build({{"a"}, {}}, {.byte_level = true, .byte_fallback = true}), Error);
  for (const char* merge : {"", "ab", "a b c", "a  b"}) EXPECT_THROW(split_merge(merge, "here"), Error) << merge;
}

}  // namespace
}  // namespace quiver::text
