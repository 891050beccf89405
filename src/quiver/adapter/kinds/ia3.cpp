// SPDX-License-Identifier: Apache-2.0
// IA3 (Liu et al., 2022): scales of keys, values and of the MLP's inner states, from 1 on.
#include <ATen/ops/ones.h>

#include <algorithm>

#include "quiver/adapter/kinds/starts.h"
#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

constexpr const char* kScale = ".ia3_l";

void make(const NewAdapter& in, Adapter& out) {
  at_sites(in, {model::Role::key, model::Role::value, model::Role::down}, [&](const model::Site& site, std::size_t) {
    auto& e = out.extras[site.name];
    const bool input = site.role == model::Role::down;
    (input ? e.input_scale : e.output_scale) = at::ones({input ? site.in : site.out}, at::kFloat);
  });
}

bool holds(const Adapter& adapter) {
  return std::any_of(adapter.extras.begin(), adapter.extras.end(), [](const auto& entry) {
    return entry.second.input_scale.defined() || entry.second.output_scale.defined();
  });
}

/// PEFT scales a site's input or its output, not both.
bool complete(const Adapter& adapter) {
  return std::all_of(adapter.extras.begin(), adapter.extras.end(), [](const auto& entry) {
    return entry.second.input_scale.defined() != entry.second.output_scale.defined();
  });
}

Adapter read(Tensors left, const nlohmann::json&, const std::string& where) {
  Adapter out;
  take_all(left, kScale, [&](const std::string& module, const at::Tensor& t) {
    const bool input = t.dim() == 2 && t.size(0) == 1;
    QUIVER_CHECK(t.dim() == 2 && (input || t.size(1) == 1), format, where,
                 "'{}': ia3_l is neither [out, 1] nor [1, in]", module);
    (input ? out.extras[module].input_scale : out.extras[module].output_scale) = t.reshape({-1}).contiguous();
  });
  check_known(left, where);
  return out;
}

AdapterFiles write(const Adapter& adapter, const std::string& base_model) {
  AdapterFiles out{config_of("IA3", adapter, base_model), {}};
  std::set<std::string> targets, inputs;
  for (const auto& [site, e] : adapter.extras) {
    targets.insert(site);
    if (e.input_scale.defined()) inputs.insert(site);
    out.tensors[std::string(kKeyPrefix) + site + kScale] =
        e.input_scale.defined() ? e.input_scale.unsqueeze(0) : e.output_scale.unsqueeze(1);
  }
  out.config["target_modules"] = modules(targets);
  out.config["feedforward_modules"] = modules(inputs);
  out.config["init_ia3_weights"] = true;
  return out;
}

}  // namespace

Kind ia3_kind() {
  return {.name = "ia3",
          .summary = "scales of keys, values and of the MLP's inner states",
          .traits = {Trait::input_scale, Trait::output_scale},
          .options = {"kind_targets"},
          .holds = holds,
          .make = make,
          .peft = PeftFiles{"IA3", read, complete, write}};
}

}  // namespace quiver::adapter
