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

/// Reads the options; what is missing or of another type is an Error{format}.
class Reader {
 public:
  Reader(const SavedRouter& saved) : saved_(saved), where_("router " + saved.name) {}

  SkillSet set() const {
    SkillSet out;
    try {
      out = options(saved_.options);
    } catch (const json::exception& error) {
      fail(ErrorCode::format, where_, "its options do not read: {}", error.what());
    }
    QUIVER_CHECK(out.options.skills >= 1 && out.options.splits >= 1 && out.lora.rank >= 1 && !out.sites.empty(), format,
                 where_, "{} skills, {} splits, rank {}, {} sites, expected at least 1 of each", out.options.skills,
                 out.options.splits, out.lora.rank, out.sites.size());
    read_tensors(out);
    return out;
  }

 private:
  static SkillSet options(const json& o) {
    SkillSet out;
    out.options.skills = o.at("skills");
    out.options.splits = o.at("splits");
    out.options.granularity = granularity_of_name(o.at("granularity"));
    out.options.normalisation = normalisation_of_name(o.at("normalisation"));
    out.options.shared_skill = o.at("shared_skill");
    out.options.epsilon = o.at("epsilon");
    out.tasks = o.at("tasks");
    const auto& lora = o.at("lora");
    out.lora.rank = lora.at("rank");
    out.lora.alpha = lora.at("alpha");
    out.lora.rank_stabilised = lora.at("rank_stabilised");
    out.lora.targets = lora.at("targets");
    for (const auto& site : o.at("sites")) out.sites.push_back({site.at(0), 0, 0, site.at(1)});
    return out;
  }

  at::Tensor tensor(const std::string& name, at::IntArrayRef leading) const {
    const auto found = saved_.tensors.find(name);
    QUIVER_CHECK(found != saved_.tensors.end(), format, where_, "it has no tensor '{}'", name);
    const auto& value = found->second;
    QUIVER_CHECK(value.dim() == 4 && value.sizes().slice(0, leading.size()) == leading, format, where_,
                 "'{}' does not fit its options", name);
    return value.to(at::kFloat);
  }

  void read_tensors(SkillSet& set) const {
    const auto& o = set.options;
    set.logits = tensor("logits", {static_cast<std::int64_t>(set.tasks.size())});
    QUIVER_CHECK(set.logits.size(2) == o.splits && set.logits.size(3) == o.skills, format, where_,
                 "'logits' does not fit its options");
    std::vector<at::Tensor> flat;
    for (auto& site : set.sites) {
      QUIVER_CHECK(site.selector >= 0 && site.selector < set.logits.size(1), format, where_,
                   "'{}' goes by selector {} of {}", site.name, site.selector, set.logits.size(1));
      const auto a = tensor(site.name + ".lora_A", {o.splits, o.skills, set.lora.rank});
      const auto b = tensor(site.name + ".lora_B", {o.splits, o.skills});
      QUIVER_CHECK(b.size(3) == set.lora.rank, format, where_, "'{}.lora_B' does not fit its options", site.name);
      site.in = a.size(3) * o.splits;
      site.out = b.size(2) * o.splits;
      flat.push_back(a.reshape({-1}));
      flat.push_back(b.reshape({-1}));
    }
    set.factors = at::cat(flat);
  }

  const SavedRouter& saved_;
  std::string where_;
};

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

SkillSet read_skills(const library::Library& library, const std::string& name) {
  const auto saved = read_router(library, name);
  QUIVER_CHECK(saved.kind == "poly", usage, "router " + name, "it is of kind '{}', expected poly", saved.kind);
  return Reader(saved).set();
}

}  // namespace quiver::routing
