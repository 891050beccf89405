// SPDX-License-Identifier: Apache-2.0
// The weights of norms, from the base model's on: PEFT's LN tuning.
#include "quiver/adapter/kind.h"

namespace quiver::adapter {
namespace {

constexpr const char* kWeight = ".ln_tuning_layers.weight";

void make(const NewAdapter& in, Adapter& out) {
  for (const auto& norm : in.model.norms()) out.norms[norm.name] = norm.weight.clone();
}

Adapter read(Tensors left, const nlohmann::json&, const std::string& where) {
  Adapter out;
  take_all(left, kWeight, [&](const std::string& module, const at::Tensor& t) { out.norms[module] = t; });
  check_known(left, where);
  return out;
}

AdapterFiles write(const Adapter& adapter, const std::string& base_model) {
  AdapterFiles out{config_of("LN_TUNING", adapter, base_model), {}};
  std::set<std::string> targets;
  for (const auto& [norm, weight] : adapter.norms) {
    targets.insert(norm);
    out.tensors[std::string(kKeyPrefix) + norm + kWeight] = weight;
  }
  out.config["target_modules"] = modules(targets);
  return out;
}

}  // namespace

Kind norms_kind() {
  return {.name = "norms",
          .summary = "the weights of norms",
          .traits = {Trait::norms},
          .options = {},
          .holds = [](const Adapter& a) { return !a.norms.empty(); },
          .make = make,
          .peft = PeftFiles{"LN_TUNING", read, [](const Adapter&) { return true; }, write}};
}

}  // namespace quiver::adapter
