// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/bpe.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <queue>

#include "quiver/base/error.h"
#include "quiver/text/byte_level.h"
#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

constexpr std::uint64_t kNoPair = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint32_t kNoRank = std::numeric_limits<std::uint32_t>::max();
// Up to here scanning all pairs for the lowest rank beats a heap.
constexpr std::size_t kShortSymbols = 48;

std::uint64_t pair_key(TokenId left, TokenId right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

std::uint64_t hash_pair(std::uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;
  return key ^ key >> 32;
}

}  // namespace

std::pair<std::string, std::string> split_merge(const std::string& merge, const std::string& where) {
  const auto space = merge.find(' ');
  QUIVER_CHECK(space != std::string::npos && merge.find(' ', space + 1) == std::string::npos, format, where,
               "expected a merge of two pieces and one space, found '{}'", merge);
  return {merge.substr(0, space), merge.substr(space + 1)};
}

Bpe::Bpe(BpeVocabulary vocabulary, BpeOptions options, const std::string& where) : options_(std::move(options)) {
  pieces_ = std::move(vocabulary.pieces);
  index_pieces(where);
  index_merges(vocabulary, where);
  index_symbols(where);
  index_words();
}

void Bpe::index_pieces(const std::string& where) {
  ids_.reserve(pieces_.size());
  for (std::size_t id = 0; id < pieces_.size(); ++id) {
    if (pieces_[id].empty()) continue;
    const auto [at, added] = ids_.emplace(pieces_[id], static_cast<TokenId>(id));
    QUIVER_CHECK(added, format, where, "piece '{}' is in the vocabulary twice, as {} and {}", pieces_[id], at->second,
                 id);
  }
  if (options_.unknown.empty()) return;
  const auto unknown = id_of(options_.unknown);
  QUIVER_CHECK(unknown, format, where, "the unknown piece '{}' is not in the vocabulary", options_.unknown);
  unknown_ = *unknown;
}

void Bpe::index_merges(const BpeVocabulary& vocabulary, const std::string& where) {
  const auto slots = std::bit_ceil(std::max<std::size_t>(16, 2 * vocabulary.merges.size()));
  merges_.assign(slots, {kNoPair, kNoRank, -1});
  merge_mask_ = slots - 1;
  std::uint32_t rank = 0;
  for (const auto& [left, right] : vocabulary.merges) {
    const auto left_id = id_of(left), right_id = id_of(right), joined = id_of(left + right);
    QUIVER_CHECK(left_id && right_id && joined, format, where, "merge {} ('{}' and '{}') needs '{}' in the vocabulary",
                 rank, left, right,
                 !left_id    ? left
                 : !right_id ? right
                             : left + right);
    insert_merge({pair_key(*left_id, *right_id), rank++, *joined});
  }
}

void Bpe::insert_merge(const Merge& merge) {
  auto slot = hash_pair(merge.pair) & merge_mask_;
  while (merges_[slot].pair != kNoPair && merges_[slot].pair != merge.pair) slot = (slot + 1) & merge_mask_;
  merges_[slot] = merge;
}

const Bpe::Merge* Bpe::find_merge(TokenId left, TokenId right) const {
  const auto key = pair_key(left, right);
  for (auto slot = hash_pair(key) & merge_mask_;; slot = (slot + 1) & merge_mask_) {
    if (merges_[slot].pair == key) return &merges_[slot];
    if (merges_[slot].pair == kNoPair) return nullptr;
  }
}

void Bpe::index_symbols(const std::string& where) {
  bool complete = true;
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    if (options_.byte_level) {
      append_utf8(byte_to_character(static_cast<unsigned char>(byte)), piece);
    } else {
      piece = fmt::format("<0x{:02X}>", byte);
    }
    byte_ids_[byte] = id_of(piece).value_or(-1);
    complete = complete && byte_ids_[byte] >= 0;
  }
  QUIVER_CHECK(complete || !options_.byte_fallback || !options_.byte_level, unsupported, where,
               "byte_fallback in a byte-level vocabulary that lacks some byte");
}

void Bpe::index_words() {
  words_.reserve(pieces_.size());
  word_bytes_.resize(options_.byte_level ? pieces_.size() : 0);
  std::vector<TokenId> encoded;
  for (std::size_t id = 0; id < pieces_.size(); ++id) {
    std::string_view word = pieces_[id];
    if (word.empty()) continue;
    if (options_.byte_level) {
      auto bytes = bytes_of_piece(word);
      if (!bytes) continue;
      word_bytes_[id] = std::move(*bytes);
      word = word_bytes_[id];
    }
    encoded.clear();
    if (!options_.ignore_merges) encode(word, encoded);
    if (options_.ignore_merges || (encoded.size() == 1 && encoded[0] == static_cast<TokenId>(id))) {
      words_.emplace(word, static_cast<TokenId>(id));
    }
  }
}

std::optional<TokenId> Bpe::id_of(std::string_view piece) const {
  const auto found = ids_.find(piece);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

void Bpe::encode(std::string_view word, std::vector<TokenId>& out) const {
  if (const auto found = words_.find(word); found != words_.end()) {
    out.push_back(found->second);
    return;
  }
  const auto begin = out.size();
  append_symbols(word, out);
  if (out.size() - begin <= kShortSymbols) {
    merge_short(begin, out);
  } else {
    merge_long(begin, out);
  }
}

void Bpe::append_symbols(std::string_view word, std::vector<TokenId>& out) const {
  bool after_unknown = false;
  for (std::size_t at = 0, bytes = 1; at < word.size(); at += bytes) {
    if (!options_.byte_level) bytes = character_at(word, at).bytes;
    const auto symbol = word.substr(at, bytes);
    const auto byte_id = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
    const auto id = options_.byte_level ? byte_id(word[at]) : id_of(symbol).value_or(-1);
    if (id >= 0) {
      out.push_back(id);
      after_unknown = false;
    } else if (options_.byte_fallback &&
               std::all_of(symbol.begin(), symbol.end(), [&](char byte) { return byte_id(byte) >= 0; })) {
      for (const char byte : symbol) out.push_back(byte_id(byte));
      after_unknown = false;
    } else if (unknown_ >= 0) {
      if (!options_.fuse_unknown || !after_unknown) out.push_back(unknown_);
      after_unknown = true;
    }
  }
}

void Bpe::merge_short(std::size_t begin, std::vector<TokenId>& out) const {
  auto* symbols = out.data() + begin;
  auto count = out.size() - begin;
  std::array<std::uint32_t, kShortSymbols> ranks;
  std::array<TokenId, kShortSymbols> joined;
  const auto rate = [&](std::size_t i) {
    const auto* merge = i + 1 < count ? find_merge(symbols[i], symbols[i + 1]) : nullptr;
    ranks[i] = merge ? merge->rank : kNoRank;
    joined[i] = merge ? merge->joined : -1;
  };
  for (std::size_t i = 0; i < count; ++i) rate(i);
  while (count > 1) {
    const auto best = static_cast<std::size_t>(std::min_element(ranks.begin(), ranks.begin() + count) - ranks.begin());
    if (ranks[best] == kNoRank) break;
    symbols[best] = joined[best];
    for (std::size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      joined[i] = joined[i + 1];
    }
    --count;
    rate(best);
    if (best > 0) rate(best - 1);
  }
  out.resize(begin + count);
}

void Bpe::merge_long(std::size_t begin, std::vector<TokenId>& out) const {
  // A doubly linked list of symbols; a heap of candidate merges, some of them outdated when they come up.
  constexpr std::size_t kEnd = std::numeric_limits<std::size_t>::max();
  struct Node {
    TokenId id;
    std::size_t previous, next;
  };
  struct Candidate {
    std::uint32_t rank;
    std::size_t at;
    std::uint64_t pair;
    TokenId joined;
    bool operator>(const Candidate& other) const { return std::pair(rank, at) > std::pair(other.rank, other.at); }
  };
  std::vector<Node> nodes(out.size() - begin);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    nodes[i] = {out[begin + i], i == 0 ? kEnd : i - 1, i + 1 == nodes.size() ? kEnd : i + 1};
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](std::size_t at) {
    if (at == kEnd || nodes[at].next == kEnd) return;
    const auto* merge = find_merge(nodes[at].id, nodes[nodes[at].next].id);
    if (merge) queue.push({merge->rank, at, merge->pair, merge->joined});
  };
  for (std::size_t i = 0; i < nodes.size(); ++i) offer(i);
  while (!queue.empty()) {
    const auto candidate = queue.top();
    queue.pop();
    auto& node = nodes[candidate.at];
    if (node.id < 0 || node.next == kEnd || pair_key(node.id, nodes[node.next].id) != candidate.pair) continue;
    auto& gone = nodes[node.next];
    node.id = candidate.joined;
    node.next = gone.next;
    gone.id = -1;
    if (node.next != kEnd) nodes[node.next].previous = candidate.at;
    offer(candidate.at);
    offer(node.previous);
  }
  out.resize(begin);
  for (const auto& node : nodes) {
    if (node.id >= 0) out.push_back(node.id);
  }
}

}  // namespace quiver::text
