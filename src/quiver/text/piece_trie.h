// SPDX-License-Identifier: Apache-2.0
// A set of byte strings with a number each, walked byte by byte: which of them does a text begin with?
//
// A double array (Aoe, "An efficient digital search algorithm by using a double-array structure", 1989): the child of
// node n for byte b stands at base[n] ^ b and names n as its parent. A step is one memory access. Immutable;
// thread-safe.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace quiver::text {

class PieceTrie {
 public:
  PieceTrie() : PieceTrie(std::vector<Key>{}) {}
  using Key = std::pair<std::string_view, std::int32_t>;
  /// Numbers are not negative. Of equal strings the last one counts; empty ones are never found.
  explicit PieceTrie(std::vector<Key> keys);

  /// Calls `on_match(bytes, number)` for each string that `text` begins with, the shortest first.
  template <typename OnMatch>
  void for_each_prefix(std::string_view text, const OnMatch& on_match) const {
    std::uint32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto child = nodes_[node].base ^ static_cast<unsigned char>(text[i]);
      if (nodes_[child].parent != node) return;
      node = child;
      if (nodes_[node].number >= 0) on_match(i + 1, nodes_[node].number);
    }
  }

 private:
  static constexpr std::uint32_t kNobody = 0xFFFFFFFF;

  // Whole blocks of 256 nodes, so that base ^ byte is always within the array.
  struct Node {
    std::uint32_t base = 0;
    std::uint32_t parent = kNobody;
    std::int32_t number = -1;
  };
  class Builder;

  std::vector<Node> nodes_;
};

}  // namespace quiver::text
