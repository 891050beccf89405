// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/kinds.h"

#include <algorithm>

#include "quiver/adapter/describe_options.h"
#include "quiver/adapter/kind.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::adapter {
namespace {

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const auto& kind : kind_table()) out.emplace_back(kind.name);
  return out;
}

/// Where a stored key stands in the table.
const std::map<std::string, std::pair<const Kind*, const StoredKey*>>& stored_keys() {
  static const auto keys = [] {
    std::map<std::string, std::pair<const Kind*, const StoredKey*>> out;
    for (const auto& kind : kind_table()) {
      for (const auto& key : kind.stored) out[key.key] = {&kind, &key};
    }
    return out;
  }();
  return keys;
}

const std::pair<const Kind*, const StoredKey*>& entry_of_key(const std::string& key) {
  const auto found = stored_keys().find(key);
  QUIVER_CHECK(found != stored_keys().end(), format, "adapter", "no kind stores '{}'", key);
  return found->second;
}

}  // namespace

const Kind& kind_of_name(const std::string& name) {
  const auto& table = kind_table();
  const auto found = std::find_if(table.begin(), table.end(), [&](const auto& kind) { return name == kind.name; });
  QUIVER_CHECK(found != table.end(), usage, "--kind", "'{}'{}, expected {}", name, suggestion(name, names()),
               join(names(), ", "));
  return *found;
}

const Kind& kind_of_key(const std::string& key) { return *entry_of_key(key).first; }
const StoredKey& stored_key(const std::string& key) { return *entry_of_key(key).second; }

std::vector<KindHelp> kind_help() {
  std::vector<KindHelp> out;
  for (const auto& kind : kind_table()) {
    out.push_back({kind.name, kind.summary, {kind.options.begin(), kind.options.end()}});
    if (!kind.describe) continue;
    KindOptions options;
    OptionSet set;
    kind.describe(options, set);
    for (auto& name : set.names()) out.back().options.push_back(std::move(name));
  }
  return out;
}

void check_kind_name(const std::string& name) { kind_of_name(name); }

std::set<std::string> kinds_of(const Adapter& adapter) {
  std::set<std::string> out;
  for (const auto& kind : kind_table()) {
    if (kind.holds(adapter)) out.insert(kind.name);
  }
  for (const auto& kind : kind_table()) {
    if (out.contains(kind.name)) out.erase(kind.contains);
  }
  return out;
}

Adapter make_adapter(const model::Model& model, const LoraOptions& lora, const KindOptions& options,
                     std::uint64_t seed) {
  QUIVER_CHECK(!options.kinds.empty(), usage, "--kind", "none given");
  for (const auto& name : options.kinds) kind_of_name(name);
  check(lora);
  check(options);
  Adapter out;
  out.options = lora;
  out.encoder_decoder = model.config().encoder_decoder();
  std::map<std::string, std::string> taken;
  for (const auto& kind : kind_table()) {
    if (!options.kinds.contains(kind.name)) continue;
    const auto [other, free] = taken.emplace(*kind.place ? kind.place : kind.name, kind.name);
    QUIVER_CHECK(free, usage, "--kind", "{} and {} are both its {}; choose one", other->second, kind.name, kind.place);
    kind.make({model, lora, options, seed}, out);
  }
  return out;
}

const std::vector<std::pair<std::string, ops::Nonlinearity>>& nonlinearities() {
  using ops::Nonlinearity;
  static const std::vector<std::pair<std::string, Nonlinearity>> table{
      {"none", Nonlinearity::none},          {"relu", Nonlinearity::relu}, {"gelu", Nonlinearity::gelu},
      {"gelu_new", Nonlinearity::gelu_tanh}, {"silu", Nonlinearity::silu}, {"tanh", Nonlinearity::tanh}};
  return table;
}

ops::Nonlinearity nonlinearity_of_name(const std::string& name, const std::string& where) {
  const auto& table = nonlinearities();
  const auto found = std::find_if(table.begin(), table.end(), [&](const auto& entry) { return name == entry.first; });
  QUIVER_CHECK(found != table.end(), unsupported, where,
               "nonlinearity '{}', expected none, relu, gelu, gelu_new, silu or tanh", name);
  return found->second;
}

std::string nonlinearity_name(ops::Nonlinearity nonlinearity) {
  const auto& table = nonlinearities();
  return std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.second == nonlinearity; })
      ->first;
}

}  // namespace quiver::adapter
