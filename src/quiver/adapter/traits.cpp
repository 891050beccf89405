// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/traits.h"

#include <array>
#include <vector>

#include "quiver/adapter/kind.h"
#include "quiver/adapter/kinds.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::adapter {
namespace {

constexpr std::array<std::pair<Trait, const char*>, 10> kWords{
    {{Trait::low_rank, "low-rank factors"},
     {Trait::input_scale, "scales of inputs"},
     {Trait::output_scale, "scales of outputs"},
     {Trait::bias, "biases"},
     {Trait::bottleneck, "bottlenecks"},
     {Trait::block_bottleneck, "bottlenecks beside whole blocks"},
     {Trait::norms, "weights of norms"},
     {Trait::vectors, "vectors before the prompt"},
     {Trait::keys_values, "keys and values before the prompt"},
     {Trait::worked_out, "tensors that need the base model to be worked out"}}};

}  // namespace

std::string text_of(Traits traits) {
  std::vector<std::string> out;
  for (const auto& [trait, word] : kWords) {
    if (traits.has(trait)) out.emplace_back(word);
  }
  return join(out, ", ");
}

Traits traits_of(const Adapter& adapter) {
  Traits out;
  const auto add = [&](bool has, Trait trait) {
    if (has) out = out | Traits{trait};
  };
  add(!adapter.sites.empty(), Trait::low_rank);
  for (const auto& [site, e] : adapter.extras) {
    add(e.input_scale.defined(), Trait::input_scale);
    add(e.output_scale.defined(), Trait::output_scale);
    add(e.bias.defined(), Trait::bias);
    if (e.bottleneck) add(true, e.bottleneck->reads == ops::Reads::block ? Trait::block_bottleneck : Trait::bottleneck);
  }
  add(!adapter.norms.empty(), Trait::norms);
  add(adapter.soft_prompt.defined(), Trait::vectors);
  add(adapter.prefix.defined(), Trait::keys_values);
  add(!adapter.stored.empty(), Trait::worked_out);
  for (const auto& [place, tensors] : adapter.stored) {
    for (const auto& [key, tensor] : tensors) out = out | kind_of_key(key).traits;
  }
  return out;
}

void require(const std::string& name, const std::set<std::string>& kinds, Traits held, const Honours& honours) {
  const auto rest = held.without(honours.traits);
  if (rest.empty()) return;
  const auto instead = honours.instead.empty()
                           ? fmt::format("apply it alone, with --route expert:{}, or leave it out with --experts", name)
                           : honours.instead;
  fail(ErrorCode::unsupported, honours.who, "expert '{}' ({}) has {}, expected {} alone; {}", name,
       join({kinds.begin(), kinds.end()}, ", "), text_of(rest), text_of(honours.traits.without({Trait::worked_out})),
       instead);
}

void require(const std::string& name, const Adapter& adapter, const Honours& honours) {
  require(name, kinds_of(adapter), traits_of(adapter), honours);
}

}  // namespace quiver::adapter
