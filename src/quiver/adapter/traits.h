// SPDX-License-Identifier: Apache-2.0
// What experts are made of, as far as whoever applies them has to know, and the one judge of who can apply what.
//
// A route, a merge, a training method, an export declares what it honours; the rest is refused in words. Nothing that
// an expert holds is left out silently.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>

namespace quiver::adapter {

struct Adapter;

/// A part of an expert as it is applied.
enum class Trait : std::uint32_t {
  low_rank,          ///< factors at sites
  input_scale,       ///< of what a site reads
  output_scale,      ///< of what a site gives
  bias,              ///< at sites
  bottleneck,        ///< after or beside sites
  block_bottleneck,  ///< beside an attention or feed-forward block: at its last site, from what its first one reads
  norms,             ///< weights of norms
  vectors,           ///< before the prompt
  keys_values,       ///< before the prompt, or before an answer
  worked_out,        ///< some of it is worked out from other numbers and the base model; never of a bank's experts
};

class Traits {
 public:
  constexpr Traits() = default;
  constexpr Traits(std::initializer_list<Trait> traits) {
    for (const auto trait : traits) bits_ |= bit(trait);
  }
  constexpr bool has(Trait trait) const { return (bits_ & bit(trait)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr Traits without(Traits other) const { return of_bits(bits_ & ~other.bits_); }
  constexpr Traits operator|(Traits other) const { return of_bits(bits_ | other.bits_); }
  constexpr bool operator==(const Traits& other) const = default;

 private:
  static constexpr std::uint32_t bit(Trait trait) { return std::uint32_t{1} << static_cast<std::uint32_t>(trait); }
  static constexpr Traits of_bits(std::uint32_t bits) {
    Traits out;
    out.bits_ = bits;
    return out;
  }
  std::uint32_t bits_ = 0;
};

/// Whatever acts on a token at a site by that token's input and output there alone: choices by token or site mix these.
inline constexpr Traits kAtSites{Trait::low_rank, Trait::input_scale, Trait::output_scale, Trait::bias,
                                 Trait::bottleneck};
/// What can be taken into the base model's weights.
inline constexpr Traits kFoldable{Trait::low_rank, Trait::input_scale, Trait::output_scale,
                                  Trait::bias,     Trait::norms,       Trait::worked_out};

/// "low-rank factors, a bias".
std::string text_of(Traits traits);

/// What an adapter is made of.
Traits traits_of(const Adapter& adapter);

/// What somebody applies or takes in as it is meant.
struct Honours {
  std::string who;  ///< where an error says that it comes from: "route arrow"
  Traits traits;
  /// Its choice goes by low-rank factors. Experts without any take no part; one that has some must have nothing else
  /// where it has none, and at least one expert has some.
  bool by_factors = false;
  std::string instead = {};  ///< what to do where it refuses; empty: the expert alone, or without it
};

/// Throws Error{unsupported} naming the expert, its kinds, and what it holds beyond what is honoured.
void require(const std::string& name, const Adapter& adapter, const Honours& honours);
void require(const std::string& name, const std::set<std::string>& kinds, Traits held, const Honours& honours);

}  // namespace quiver::adapter
