// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/learned/skills.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/sigmoid.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "quiver/adapter/module_pattern.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"

namespace quiver::routing {
namespace {

std::int64_t selector_of(const model::Site& site, std::size_t position, SkillOptions::Granularity granularity) {
  switch (granularity) {
    case SkillOptions::Granularity::site:
      return static_cast<std::int64_t>(position);
    case SkillOptions::Granularity::layer:
      return site.layer;
    case SkillOptions::Granularity::model:
      return 0;
  }
  return 0;
}

void check(const SkillOptions& o) {
  QUIVER_CHECK(o.skills >= 1 && o.skills <= 4096, usage, "skills", "{} skills, expected 1 to 4096", o.skills);
  QUIVER_CHECK(o.splits >= 1, usage, "skills", "{} splits, expected 1 or more", o.splits);
  QUIVER_CHECK(!o.shared_skill || o.normalisation != SkillOptions::Normalisation::unit, usage, "skills",
               "a shared skill has no meaning where logits are scaled to length 1");
}

/// Targeted sites in the order of the model, with their selectors numbered from 0 without gaps.
std::vector<SkillSite> skill_sites(const model::Model& model, const adapter::LoraOptions& lora, const SkillOptions& o) {
  std::vector<SkillSite> out;
  std::vector<std::int64_t> selectors;
  for (const auto i : adapter::targeted_sites(model.sites(), lora.targets, "--targets")) {
    const auto& site = model.sites()[i];
    QUIVER_CHECK(site.in % o.splits == 0 && site.out % o.splits == 0, usage, "skills",
                 "{}: in {} and out {} do not divide into {} splits", site.name, site.in, site.out, o.splits);
    const auto selector = selector_of(site, out.size(), o.granularity);
    if (selectors.empty() || selectors.back() != selector) selectors.push_back(selector);
    out.push_back({site.name, site.in, site.out, static_cast<std::int64_t>(selectors.size()) - 1});
  }
  return out;
}

/// Numbers per site and factor, in the order of SkillSet::factors.
std::vector<std::int64_t> factor_sizes(const SkillSet& set) {
  std::vector<std::int64_t> sizes;
  for (const auto& site : set.sites) {
    for (const auto width : {site.in, site.out}) sizes.push_back(set.options.skills * set.lora.rank * width);
  }
  return sizes;
}

/// Every A and B, as SkillSite says. One call for all, because the gradient of a piece cut out by itself is as large as
/// the whole.
std::vector<at::Tensor> pieces(const SkillSet& set) {
  const auto& o = set.options;
  auto flat = set.factors.split_with_sizes(factor_sizes(set));
  for (std::size_t i = 0; i < set.sites.size(); ++i) {
    const auto& site = set.sites[i];
    flat[2 * i] = flat[2 * i].view({o.splits, o.skills, set.lora.rank, site.in / o.splits});
    flat[2 * i + 1] = flat[2 * i + 1].view({o.splits, o.skills, site.out / o.splits, set.lora.rank});
  }
  return flat;
}

/// sum_e w[t,s,e] f[s,e,..] -> [T, S, ..].
at::Tensor composed(const at::Tensor& weights, const at::Tensor& factor) {
  const auto by_split = weights.transpose(0, 1);
  const auto sums = at::bmm(by_split, factor.flatten(2));
  return sums.view({sums.size(0), sums.size(1), factor.size(2), factor.size(3)}).transpose(0, 1);
}

/// Skill e of the set := `skill`.
void put_skill(SkillSet& set, std::int64_t e, const adapter::Adapter& skill) {
  const auto all = pieces(set);
  for (std::size_t i = 0; i < set.sites.size(); ++i) {
    const auto& f = skill.sites.at(set.sites[i].name);
    const auto splits = set.options.splits, rank = set.lora.rank;
    all[2 * i].select(1, e).copy_(f.a.view({rank, splits, -1}).transpose(0, 1));
    all[2 * i + 1].select(1, e).copy_(f.b.view({splits, -1, rank}));
  }
}

}  // namespace

std::optional<std::int64_t> SkillSet::task_number(const std::string& task) const {
  const auto found = std::find(tasks.begin(), tasks.end(), task);
  if (found == tasks.end()) return std::nullopt;
  return found - tasks.begin();
}

at::Tensor fresh_logits(const SkillSet& shape, std::int64_t tasks, std::uint64_t seed) {
  std::int64_t selectors = 0;
  for (const auto& site : shape.sites) selectors = std::max(selectors, site.selector + 1);
  auto out = at::empty({tasks, selectors, shape.options.splits, shape.options.skills}, at::kFloat);
  Random random(seed);
  auto* values = out.data_ptr<float>();
  for (std::int64_t i = 0; i < out.numel(); ++i) values[i] = static_cast<float>((2.0 * random.uniform() - 1.0) * 1e-3);
  return out;
}

SkillSet make_skills(const model::Model& model, const adapter::LoraOptions& lora, const SkillOptions& options,
                     const std::vector<std::string>& tasks, std::uint64_t seed) {
  check(options);
  const c10::AutoGradMode no_gradient(false);
  SkillSet set{options, lora, tasks, skill_sites(model, lora, options), {}, {}};
  for (std::int64_t e = 0; e < options.skills; ++e) {
    const auto skill = adapter::make_lora(model, lora, derive_seed(seed, static_cast<std::uint64_t>(e) + 1));
    if (e == 0) set.factors = at::empty({options.skills * skill.parameters()}, at::kFloat);
    put_skill(set, e, skill);
  }
  set.logits = fresh_logits(set, static_cast<std::int64_t>(tasks.size()), derive_seed(seed, 0));
  return set;
}

at::Tensor skill_use(const at::Tensor& logits, const SkillOptions& options) {
  return options.normalisation == SkillOptions::Normalisation::unit ? logits : at::sigmoid(logits);
}

at::Tensor skill_weights(const at::Tensor& use, const SkillOptions& o) {
  auto m = use;
  if (o.shared_skill) {
    const auto last = at::ones_like(m.narrow(-1, 0, 1));
    m = at::cat({m.narrow(-1, 0, o.skills - 1), last}, -1);
  }
  switch (o.normalisation) {
    case SkillOptions::Normalisation::share:
      return m / (m.sum(-1, true) + o.epsilon);
    case SkillOptions::Normalisation::corrected:
      return m * std::sqrt(static_cast<double>(o.splits) / static_cast<double>(o.skills));
    case SkillOptions::Normalisation::unit:
      return m / (m.square().sum(-1, true) + o.epsilon).sqrt();
  }
  return m;
}

std::vector<adapter::Adapter> fold(const SkillSet& set, const at::Tensor& weights) {
  const auto tasks = weights.size(0);
  const double scale = adapter::lora_scale(set.lora.alpha, set.lora.rank, set.lora.rank_stabilised);
  const auto all = pieces(set);
  std::vector<adapter::Adapter> out(static_cast<std::size_t>(tasks), adapter::Adapter{set.lora, {}});
  for (std::size_t i = 0; i < set.sites.size(); ++i) {
    const auto& site = set.sites[i];
    const auto own = weights.select(1, site.selector);
    const auto a = composed(own, all[2 * i]).transpose(1, 2).reshape({tasks, set.lora.rank, site.in}).unbind(0);
    const auto b = composed(own, all[2 * i + 1]).reshape({tasks, site.out, set.lora.rank}).unbind(0);
    for (std::size_t t = 0; t < out.size(); ++t) out[t].sites[site.name] = {a[t], b[t], scale};
  }
  return out;
}

adapter::Adapter mean_skill(const SkillSet& set) {
  const auto& o = set.options;
  const auto share = 1.0 / static_cast<double>(o.skills);
  return fold(set, at::full({1, set.selectors(), o.splits, o.skills}, share, at::kFloat))[0];
}

adapter::Adapter fold(const SkillSet& set, const std::string& task) {
  const auto number = set.task_number(task);
  if (!number) return mean_skill(set);
  const auto logits = set.logits.narrow(0, *number, 1);
  return fold(set, skill_weights(skill_use(logits, set.options), set.options))[0];
}

}  // namespace quiver::routing
