// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/piece_trie.h"

#include <algorithm>

namespace quiver::text {
namespace {

constexpr std::uint32_t kBlock = 256;
// Places that are tried for a node with several children before the array grows. More makes it denser and slower to
// build.
constexpr int kAttempts = 128;

}  // namespace

// Places nodes into the free slots, which form a list in the order in which they came to be.
class PieceTrie::Builder {
 public:
  Builder(const std::vector<Key>& keys, std::vector<Node>& nodes) : keys_(keys), nodes_(nodes) {
    grow();
    take(0);
  }

  void build() {
    std::vector<Range> todo = {{0, 0, 0, keys_.size()}};
    while (!todo.empty()) {
      const auto range = todo.back();
      todo.pop_back();
      place(range, todo);
    }
  }

 private:
  // The keys that share the `depth` bytes which lead to `node`.
  struct Range {
    std::uint32_t node;
    std::size_t depth, begin, end;
  };

  void place(Range range, std::vector<Range>& todo) {
    for (; range.begin < range.end && keys_[range.begin].first.size() == range.depth; ++range.begin) {
      if (range.depth > 0) nodes_[range.node].number = keys_[range.begin].second;
    }
    if (range.begin == range.end) return;
    const auto label = [&](std::size_t key) { return static_cast<unsigned char>(keys_[key].first[range.depth]); };
    labels_.clear();
    for (auto key = range.begin; key < range.end; ++key) {
      if (labels_.empty() || labels_.back() != label(key)) labels_.push_back(label(key));
    }
    const auto base = find_base();
    nodes_[range.node].base = base;
    for (const auto byte : labels_) {
      take(base ^ byte);
      nodes_[base ^ byte].parent = range.node;
    }
    for (auto begin = range.begin; begin < range.end;) {
      auto end = begin;
      while (end < range.end && label(end) == label(begin)) ++end;
      todo.push_back({base ^ label(begin), range.depth + 1, begin, end});
      begin = end;
    }
  }

  std::uint32_t find_base() {
    auto slot = first_;
    for (int i = 0; i < kAttempts && slot != kNobody; ++i, slot = next_[slot]) {
      const auto base = slot ^ labels_.front();
      if (std::all_of(labels_.begin(), labels_.end(), [&](auto byte) { return free_[base ^ byte]; })) return base;
    }
    const auto base = static_cast<std::uint32_t>(nodes_.size());
    grow();
    return base;
  }

  void grow() {
    const auto begin = static_cast<std::uint32_t>(nodes_.size());
    nodes_.resize(begin + kBlock);
    free_.resize(nodes_.size(), true);
    next_.resize(nodes_.size(), kNobody);
    previous_.resize(nodes_.size(), kNobody);
    for (auto slot = begin; slot < begin + kBlock; ++slot) {
      previous_[slot] = last_;
      (last_ == kNobody ? first_ : next_[last_]) = slot;
      last_ = slot;
    }
  }

  void take(std::uint32_t slot) {
    free_[slot] = false;
    const auto before = previous_[slot], after = next_[slot];
    (before == kNobody ? first_ : next_[before]) = after;
    (after == kNobody ? last_ : previous_[after]) = before;
  }

  const std::vector<Key>& keys_;
  std::vector<Node>& nodes_;
  std::vector<unsigned char> labels_;
  std::vector<bool> free_;
  std::vector<std::uint32_t> next_, previous_;
  std::uint32_t first_ = kNobody, last_ = kNobody;
};

PieceTrie::PieceTrie(std::vector<Key> keys) {
  std::stable_sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) { return a.first < b.first; });
  Builder(keys, nodes_).build();
}

}  // namespace quiver::text
