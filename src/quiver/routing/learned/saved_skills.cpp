// SPDX-License-Identifier: Apache-2.0
// Skills as a trained router of a library.
//
//   options   skills, splits, granularity, normalisation, shared_skill, epsilon, tasks, lora {rank, alpha,
//             rank_stabilised, targets}, sites [[NAME, selector], ...]
//   tensors   "logits" [T, G, S, E]; per site "NAME.lora_A" [S, E, R, in/S] and "NAME.lora_B" [S, E, out/S, R]
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/routing/learned/skills.h"

namespace quiver::routing {
namespace {

using nlohmann::json;

const std::vector<std::string> kGranularities{"site", "layer", "model"};
const std::vector<std::string> kNormalisations{"share", "corrected", "unit"};

std::size_t place_of(const std::string& what, const std::string& name, const std::vector<std::string>& names) {
  const auto found = std::find(names.begin(), names.end(), name);
  QUIVER_CHECK(found != names.end(), usage, what, "'{}', expected {}", name, join(names, ", "));
  return static_cast<std::size_t>(found - names.begin());
}

SkillSet options_of(const SavedRouter& saved) {
  SkillSet out;
  out.options.skills = saved.option<std::int64_t>("skills");
  out.options.splits = saved.option<std::int64_t>("splits");
  out.options.granularity = granularity_of_name(saved.option<std::string>("granularity"));
  out.options.normalisation = normalisation_of_name(saved.option<std::string>("normalisation"));
  out.options.shared_skill = saved.option<bool>("shared_skill");
  out.options.epsilon = saved.option<double>("epsilon");
  out.tasks = saved.option<std::vector<std::string>>("tasks");
  try {
    const auto lora = saved.option<json>("lora");
    out.lora.rank = lora.at("rank");
    out.lora.alpha = lora.at("alpha");
    out.lora.rank_stabilised = lora.at("rank_stabilised");
    out.lora.targets = lora.at("targets");
    for (const auto& site : saved.option<json>("sites")) out.sites.push_back({site.at(0), 0, 0, site.at(1)});
  } catch (const json::exception& error) {
    fail(ErrorCode::format, saved.where(), "its options do not read: {}", error.what());
  }
  QUIVER_CHECK(out.options.skills >= 1 && out.options.splits >= 1 && out.lora.rank >= 1 && !out.sites.empty(), format,
               saved.where(), "{} skills, {} splits, rank {}, {} sites, expected at least 1 of each",
               out.options.skills, out.options.splits, out.lora.rank, out.sites.size());
  return out;
}

void read_tensors(const SavedRouter& saved, SkillSet& set) {
  const auto& o = set.options;
  set.logits = saved.tensor("logits", {static_cast<std::int64_t>(set.tasks.size()), -1, o.splits, o.skills});
  std::vector<at::Tensor> flat;
  for (auto& site : set.sites) {
    QUIVER_CHECK(site.selector >= 0 && site.selector < set.logits.size(1), format, saved.where(),
                 "'{}' goes by selector {} of {}", site.name, site.selector, set.logits.size(1));
    const auto a = saved.tensor(site.name + ".lora_A", {o.splits, o.skills, set.lora.rank, -1});
    const auto b = saved.tensor(site.name + ".lora_B", {o.splits, o.skills, -1, set.lora.rank});
    site.in = a.size(3) * o.splits;
    site.out = b.size(2) * o.splits;
    flat.push_back(a.reshape({-1}));
    flat.push_back(b.reshape({-1}));
  }
  set.factors = at::cat(flat);
}

}  // namespace

SkillOptions::Granularity granularity_of_name(const std::string& name) {
  return static_cast<SkillOptions::Granularity>(place_of("granularity", name, kGranularities));
}

SkillOptions::Normalisation normalisation_of_name(const std::string& name) {
  return static_cast<SkillOptions::Normalisation>(place_of("normalisation", name, kNormalisations));
}

SavedRouter to_saved_router(const SkillSet& set, const std::string& name, const json& training) {
  const auto& o = set.options;
  SavedRouter out;
  out.name = name;
  out.kind = "poly";
  out.training = training;
  auto sites = json::array();
  std::int64_t at = 0;
  const auto next = [&](at::IntArrayRef shape) {
    const auto count = c10::multiply_integers(shape);
    at += count;
    return set.factors.detach().narrow(0, at - count, count).view(shape);
  };
  for (const auto& site : set.sites) {
    sites.push_back({site.name, site.selector});
    out.tensors[site.name + ".lora_A"] = next({o.splits, o.skills, set.lora.rank, site.in / o.splits});
    out.tensors[site.name + ".lora_B"] = next({o.splits, o.skills, site.out / o.splits, set.lora.rank});
  }
  out.tensors["logits"] = set.logits.detach();
  out.options = {{"skills", o.skills},
                 {"splits", o.splits},
                 {"granularity", kGranularities[static_cast<std::size_t>(o.granularity)]},
                 {"normalisation", kNormalisations[static_cast<std::size_t>(o.normalisation)]},
                 {"shared_skill", o.shared_skill},
                 {"epsilon", o.epsilon},
                 {"tasks", set.tasks},
                 {"lora",
                  {{"rank", set.lora.rank},
                   {"alpha", set.lora.alpha},
                   {"rank_stabilised", set.lora.rank_stabilised},
                   {"targets", set.lora.targets}}},
                 {"sites", sites}};
  return out;
}

SkillSet skills_of(const SavedRouter& saved) {
  QUIVER_CHECK(saved.kind == "poly", usage, saved.where(), "it is of kind '{}', expected poly", saved.kind);
  auto out = options_of(saved);
  read_tensors(saved, out);
  return out;
}

SkillSet read_skills(const library::Library& library, const std::string& name) {
  return skills_of(read_router(library, name));
}

}  // namespace quiver::routing
