// SPDX-License-Identifier: Apache-2.0
// Skills: a few LoRA shared by all tasks, of which each task is a composition (Polytropon, Ponti et al., 2022; with
// more than one split MHR, Caccia et al., arXiv 2211.03831).
//
//   m[t,s,e] = sigmoid(logit)                      how much task t uses skill e in split s of a site
//   w[t,s,e] = m / (sum_e m + epsilon)             the normalisation is an option
//   A_t      = concat_s sum_e w[t,s,e] A[e,s]      splits part the inputs of A and the outputs of B
//   B_t      = concat_s sum_e w[t,s,e] B[e,s]
//
// A task's composition is thus one LoRA of the skills' rank and costs what a single expert does. Kept in a library as a
// trained router of kind "poly" that needs no experts. All functions are differentiable in logits and factors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/library/library.h"
#include "quiver/routing/saved_router.h"

namespace quiver::routing {

struct SkillOptions {
  std::int64_t skills = 8;
  std::int64_t splits = 1;  ///< divides inputs and outputs of every site. 1: Poly; more: MHR, which composes finer
  enum class Granularity { site, layer, model };
  Granularity granularity = Granularity::site;  ///< what has logits of its own
  enum class Normalisation {
    share,      ///< m / (sum m + epsilon)
    corrected,  ///< m sqrt(splits) / sqrt(skills): the size does not fall with the number of skills
    unit,       ///< logit / |logits|, without sigmoid
  };
  Normalisation normalisation = Normalisation::share;
  bool shared_skill = false;  ///< the last skill has m = 1 in every task
  double epsilon = 1e-12;
};

SkillOptions::Granularity granularity_of_name(const std::string& name);      ///< site, layer, model
SkillOptions::Normalisation normalisation_of_name(const std::string& name);  ///< share, corrected, unit

/// Where a site's factors lie in SkillSet::factors: A [S, E, R, in/S], then B [S, E, out/S, R].
struct SkillSite {
  std::string name;
  std::int64_t in = 0, out = 0;
  std::int64_t selector = 0;  ///< which logits it goes by
};

/// E skills of rank R in S splits, and the logits of T tasks for G selectors.
struct SkillSet {
  SkillOptions options;
  adapter::LoraOptions lora;
  std::vector<std::string> tasks;
  std::vector<SkillSite> sites;
  at::Tensor factors;  ///< float32 [P], the sites' one after another
  at::Tensor logits;   ///< float32 [T, G, S, E]

  std::int64_t selectors() const { return logits.size(1); }
  std::optional<std::int64_t> task_number(const std::string& task) const;
};

/// Fresh skills: each starts as an adapter of make_lora does, logits ~ U(-1e-3, 1e-3). Throws Error{usage} where splits
/// do not divide a site's width, naming the site.
SkillSet make_skills(const model::Model& model, const adapter::LoraOptions& lora, const SkillOptions& options,
                     const std::vector<std::string>& tasks, std::uint64_t seed);
/// Logits of `tasks` tasks as they start.
at::Tensor fresh_logits(const SkillSet& shape, std::int64_t tasks, std::uint64_t seed);

/// m [.., S, E] of logits, as in evaluation (where normalisation = unit: the logits themselves).
at::Tensor skill_use(const at::Tensor& logits, const SkillOptions& options);
/// w of m, the shared skill set first.
at::Tensor skill_weights(const at::Tensor& use, const SkillOptions& options);

/// One adapter for each row of weights [T, G, S, E].
std::vector<adapter::Adapter> fold(const SkillSet& set, const at::Tensor& weights);
/// The composition of a task; the mean of the skills where it is not one of the set's.
adapter::Adapter fold(const SkillSet& set, const std::string& task);
/// All skills equally: what a task without logits gets (MHR-mu starts from it).
adapter::Adapter mean_skill(const SkillSet& set);

SavedRouter to_saved_router(const SkillSet& set, const std::string& name, const nlohmann::json& training);
/// Throws Error{usage} where the router is of another kind, Error{format} where its tensors do not fit together.
SkillSet skills_of(const SavedRouter& saved);
/// Those of the library's router of that name.
SkillSet read_skills(const library::Library& library, const std::string& name);

}  // namespace quiver::routing
