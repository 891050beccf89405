// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/unigram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "quiver/base/error.h"

namespace quiver::text {
namespace {

using Ids = std::vector<TokenId>;

UnigramVocabulary small() {
  UnigramVocabulary vocabulary;
  for (const auto& [text, score] : std::initializer_list<std::pair<const char*, double>>{
           {"<unk>", 0}, {"a", -1}, {"b", -1}, {"ab", -1.5}, {"aba", -4}, {"c", -2}, {"\xC3\xA9", -3}}) {
    UnigramPiece piece;
    piece.text = text;
    piece.score = score;
    vocabulary.pieces.push_back(piece);
  }
  vocabulary.pieces[0].in_text = false;
  vocabulary.unknown = 0;
  vocabulary.unknown_score = -14;
  return vocabulary;
}

Ids encode(const UnigramVocabulary& vocabulary, std::string_view text, SpecialPieces special = SpecialPieces::match) {
  Ids ids;
  Unigram(vocabulary, "test").encode(text, special, ids);
  return ids;
}

TEST(Unigram, TakesTheBestSumAndTheEarlierPieceAmongEquals) {
  EXPECT_EQ(encode(small(), ""), Ids{});
  EXPECT_EQ(encode(small(), "abab"), (Ids{3, 3}));
  EXPECT_EQ(encode(small(), "abac\xC3\xA9"), (Ids{3, 1, 5, 6}));
  auto vocabulary = small();
  vocabulary.pieces[4].score = -2.5;  // aba as good as ab + a
  EXPECT_EQ(encode(vocabulary, "aba"), Ids{4});
  vocabulary.pieces[3].score = -2;  // ab as good as a + b
  EXPECT_EQ(encode(vocabulary, "ab"), Ids{3});
}

TEST(Unigram, NeighbouringUnknownCharactersAreOnePiece) {
  EXPECT_EQ(encode(small(), "x\xE4\xB8\xADyaz"), (Ids{0, 1, 0}));
  EXPECT_EQ(encode(small(), "<unk>"), Ids{0});
  EXPECT_EQ(encode(small(), std::string(1000, 'z') + "a"), (Ids{0, 1}));
}

TEST(Unigram, BytesStandForUnknownCharactersWhereAllAreThere) {
  auto vocabulary = small();
  vocabulary.byte_fallback = true;
  EXPECT_EQ(encode(vocabulary, "ax"), (Ids{1, 0}));
  vocabulary.pieces.push_back({"<0x78>", -20});
  EXPECT_EQ(encode(vocabulary, "axxa"), (Ids{1, 7, 7, 1}));
  EXPECT_EQ(encode(vocabulary, "axya"), (Ids{1, 0, 1}));
}

TEST(Unigram, SpecialPiecesCanBeLeftOut) {
  auto vocabulary = small();
  vocabulary.pieces.push_back({"abc", 0, true, true});
  EXPECT_EQ(encode(vocabulary, "abc"), Ids{7});
  EXPECT_EQ(encode(vocabulary, "abc", SpecialPieces::ignore), (Ids{3, 5}));
}

TEST(Unigram, ContradictionsAreNamed) {
  const auto expect_error = [](const UnigramVocabulary& vocabulary, const std::string& text, const char* mention) {
    try {
      encode(vocabulary, text);
      FAIL() << mention;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::format);
      EXPECT_NE(std::string(error.what()).find(mention), std::string::npos) << error.what();
    }
  };
  auto vocabulary = small();
  vocabulary.unknown = -1;
  EXPECT_EQ(encode(vocabulary, "ab"), Ids{3});
  expect_error(vocabulary, "axb", "'x'");
  vocabulary.unknown = 7;
  expect_error(vocabulary, "", "id 7");
  vocabulary = small();
  vocabulary.pieces[3].score = std::numeric_limits<double>::quiet_NaN();
  expect_error(vocabulary, "", "piece 3");
  vocabulary = small();
  vocabulary.pieces[3].text = "\xFF";
  expect_error(vocabulary, "", "piece 3 is not UTF-8");
  expect_error(UnigramVocabulary{}, "", "empty");
}

// The plain algorithm over all places, which keeps everything.
Ids reference(const UnigramVocabulary& vocabulary, const std::string& text) {
  struct Place {
    double score = -1e300;
    std::size_t begin = 0;
    TokenId id = -1;
  };
  std::vector<Place> places(text.size() + 1);
  places[0].score = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto offer = [&](std::size_t bytes, TokenId id, double score) {
      if (at + bytes > text.size() || places[at].score + score <= places[at + bytes].score) return;
      places[at + bytes] = {places[at].score + score, at, id};
    };
    bool single = false;
    for (std::size_t bytes = 1; at + bytes <= text.size(); ++bytes) {
      for (std::size_t id = 1; id < vocabulary.pieces.size(); ++id) {
        if (text.compare(at, bytes, vocabulary.pieces[id].text) != 0) continue;
        single = single || bytes == 1;
        offer(bytes, static_cast<TokenId>(id), vocabulary.pieces[id].score);
      }
    }
    if (!single) offer(1, 0, vocabulary.unknown_score);
  }
  Ids ids;
  for (auto end = text.size(); end > 0; end = places[end].begin) {
    if (places[end].id != 0 || ids.empty() || ids.back() != 0) ids.push_back(places[end].id);
  }
  std::reverse(ids.begin(), ids.end());
  return ids;
}

TEST(Unigram, EqualsThePlainAlgorithmOnRandomVocabularies) {
  std::mt19937 random(7);
  const auto pick = [&](int count) { return static_cast<int>(random() % static_cast<unsigned>(count)); };
  for (int round = 0; round < 40; ++round) {
    UnigramVocabulary vocabulary = small();
    vocabulary.pieces.resize(1);
    for (int i = 0; i < 60; ++i) {
      UnigramPiece piece;
      for (int n = pick(7); n >= 0; --n) piece.text += static_cast<char>('a' + pick(3));
      piece.score = -pick(1000) / 64.0;  // sums are exact, and ties common
      const auto known = [&](const auto& other) { return other.text == piece.text; };
      if (std::none_of(vocabulary.pieces.begin(), vocabulary.pieces.end(), known)) vocabulary.pieces.push_back(piece);
    }
    vocabulary.unknown_score = -30;
    for (const int length : {1, 5, 40, 300}) {
      std::string text;
      for (int i = 0; i < length; ++i) text += static_cast<char>('a' + pick(round % 2 == 0 ? 3 : 4));
      EXPECT_EQ(encode(vocabulary, text), reference(vocabulary, text)) << text;
    }
  }
}

TEST(PieceTrie, FindsExactlyTheStringsThatATextBeginsWith) {
  std::mt19937 random(3);
  std::vector<std::string> words;
  for (int i = 0; i < 5000; ++i) {
    std::string word;
    for (auto n = 1 + random() % 6; n > 0; --n) word += static_cast<char>(random() % (i % 2 == 0 ? 256 : 8));
    words.push_back(word);
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  std::vector<PieceTrie::Key> keys;
  for (std::size_t i = 0; i < words.size(); ++i) keys.emplace_back(words[i], static_cast<std::int32_t>(i));
  const PieceTrie trie(keys);
  for (int i = 0; i < 3000; ++i) {
    std::string text = words[random() % words.size()];
    for (int n = 0; n < 3; ++n) text += static_cast<char>(random() % 8);
    std::vector<std::pair<std::size_t, std::int32_t>> found, expected;
    trie.for_each_prefix(text, [&](std::size_t bytes, std::int32_t number) { found.emplace_back(bytes, number); });
    for (std::size_t bytes = 1; bytes <= text.size(); ++bytes) {
      const auto at = std::lower_bound(words.begin(), words.end(), text.substr(0, bytes));
      if (at != words.end() && *at == text.substr(0, bytes)) {
        expected.emplace_back(bytes, static_cast<std::int32_t>(at - words.begin()));
      }
    }
    EXPECT_EQ(found, expected);
  }
  PieceTrie().for_each_prefix("a", [](std::size_t, std::int32_t) { FAIL(); });
}

}  // namespace
}  // namespace quiver::text
