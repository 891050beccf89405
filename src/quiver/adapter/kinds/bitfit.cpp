// SPDX-License-Identifier: Apache-2.0
// BitFit (Ben Zaken et al., 2022): biases at sites, from 0 on. PEFT's LoRA may hold the base model's instead, trained
// and whole (`bias` of its configuration): what is applied is what they differ by.
#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "quiver/adapter/kinds/starts.h"
#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

void work_out(const WorkedOut& in, Adapter& out) {
  in.at_sites(kTrainedBias, [&](const model::Site& site, const auto& tensors) {
    const auto& whole = tensors.at(kTrainedBias);
    QUIVER_CHECK(site.bias.defined() && whole.numel() == site.out, mismatch, "expert " + in.name,
                 "site '{}': a trained bias of {} numbers, the base model's has {}", site.name, whole.numel(),
                 site.bias.defined() ? site.out : 0);
    auto& bias = out.extras[site.name].bias;
    const auto change = whole - site.bias.to(at::kFloat);
    bias = bias.defined() ? bias + change : change;
  });
}

bool holds(const Adapter& adapter) {
  return std::any_of(adapter.extras.begin(), adapter.extras.end(),
                     [](const auto& entry) { return entry.second.bias.defined(); }) ||
         std::any_of(adapter.stored.begin(), adapter.stored.end(),
                     [](const auto& entry) { return entry.second.contains(kTrainedBias); });
}

}  // namespace

Kind bitfit_kind() {
  return {.name = "bitfit",
          .summary = "biases at sites",
          .traits = {Trait::bias},
          .options = {"kind_targets"},
          .holds = holds,
          .make =
              [](const NewAdapter& in, Adapter& out) {
                at_sites(in, {}, [&](const model::Site& site, std::size_t) {
                  out.extras[site.name].bias = at::zeros({site.out}, at::kFloat);
                });
              },
          .stored = {{kTrainedBias, "trained bias", 1}},
          .work_out = work_out};
}

}  // namespace quiver::adapter
