// SPDX-License-Identifier: Apache-2.0
// VeRA (Kopiczko et al., 2024): A = diag(d) S_A[:, :in], B = diag(b) S_B[:out], S_A and S_B frozen and shared by all
// sites, scale 1.
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "quiver/adapter/kinds/starts.h"
#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

constexpr const char *kSharedA = "base_model.vera_A", *kSharedB = "base_model.vera_B";
constexpr const char *kInputGains = ".vera_lambda_d", *kOutputGains = ".vera_lambda_b";
constexpr double kGain = 0.1;  // what d starts as, in PEFT too

/// S_A, S_B as He et al.'s initialisation has them, the same for all experts.
void make(const NewAdapter& in, Adapter& out) {
  std::int64_t widest_in = 0, widest_out = 0;
  const auto rank = in.lora.rank;
  at_sites(in, {}, [&](const model::Site& site, std::size_t) {
    out.stored[site.name] = {{kInputGains, at::full({rank}, kGain, at::kFloat)},
                             {kOutputGains, at::zeros({site.out}, at::kFloat)}};
    widest_in = std::max(widest_in, site.in);
    widest_out = std::max(widest_out, site.out);
  });
  Random random(derive_seed(0, 400000));
  auto& shared = out.stored[""];
  shared[kSharedA] = uniform({rank, widest_in}, random, std::sqrt(6.0 / static_cast<double>(widest_in)));
  shared[kSharedB] = uniform({widest_out, rank}, random, std::sqrt(6.0 / static_cast<double>(rank)));
}

void work_out(const WorkedOut& in, Adapter& out) {
  const auto a = in.given.stored_at("", kSharedA), b = in.given.stored_at("", kSharedB);
  const auto factors = [&](const model::Site& site, const auto& tensors) {
    const bool both = tensors.contains(kInputGains) && tensors.contains(kOutputGains);
    const bool fits = both && a.defined() && b.defined() && a.dim() == 2 && b.dim() == 2 && a.size(0) == b.size(1) &&
                      tensors.at(kInputGains).numel() == a.size(0) && tensors.at(kOutputGains).numel() == site.out &&
                      a.size(1) >= site.in && b.size(0) >= site.out;
    QUIVER_CHECK(fits, mismatch, "expert " + in.name,
                 "site '{}': gains are for shared factors that are as wide as the site", site.name);
    out.sites[site.name] = {tensors.at(kInputGains).unsqueeze(1) * a.narrow(1, 0, site.in),
                            tensors.at(kOutputGains).unsqueeze(1) * b.narrow(0, 0, site.out), 1.0};
  };
  in.at_sites(kInputGains, factors);
  in.at_sites(kOutputGains, [&](const model::Site& site, const auto& tensors) {
    if (!tensors.contains(kInputGains)) factors(site, tensors);
  });
}

Adapter read(Tensors left, const nlohmann::json& config, const std::string& where) {
  Adapter out;
  if (config.value("bias", nlohmann::json("none")) != "none") {
    for (const auto* key : {kTrainedBias, ".bias"})
      take_all(left, key, [&](const auto& site, const auto& t) { out.stored[site][kTrainedBias] = t; });
  }
  auto& shared = out.stored[""];
  for (const auto* key : {kSharedA, kSharedB}) {
    shared[key] = take_one(left, key, 2, where);
    QUIVER_CHECK(shared[key].defined(), unsupported, where, "no {}: save it with save_projection=True", key);
  }
  for (const auto* key : {kInputGains, kOutputGains})
    take_all(left, key, [&](const auto& site, const auto& t) { out.stored[site][key] = t; });
  check_known(left, where);
  out.options.rank = out.stored_at("", kSharedA).size(0);
  return out;
}

AdapterFiles write(const Adapter& adapter, const std::string& base_model) {
  AdapterFiles out{config_of("VERA", adapter, base_model), {}};
  std::set<std::string> targets;
  for (const auto& [place, tensors] : adapter.stored) {
    if (!place.empty()) targets.insert(place);
    for (const auto& [key, t] : tensors) out.tensors[(place.empty() ? "" : std::string(kKeyPrefix) + place) + key] = t;
  }
  out.config["target_modules"] = modules(targets);
  out.config["r"] = adapter.stored_at("", kSharedA).size(0);
  out.config["save_projection"] = true;
  return out;
}

}  // namespace

Kind vera_kind() {
  return {.name = "vera",
          .summary = "gains of random factors that all sites share",
          .traits = {Trait::low_rank},
          .place = "pair of factors at a site",
          .options = {"rank", "dropout", "kind_targets"},
          .holds = [](const Adapter& a) { return a.stored_at("", kSharedA).defined(); },
          .make = make,
          .stored = {{kInputGains, "gain", 1},
                     {kOutputGains, "gain", 1},
                     {.key = kSharedA, .label = "shared", .dims = 2, .of_site = false, .trained = false},
                     {.key = kSharedB, .label = "shared", .dims = 2, .of_site = false, .trained = false}},
          .work_out = work_out,
          .peft = PeftFiles{"VERA", read, [](const Adapter&) { return true; }, write}};
}

}  // namespace quiver::adapter
