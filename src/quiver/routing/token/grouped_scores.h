// SPDX-License-Identifier: Apache-2.0
// Arrow's scores for thousands of experts in two levels: prototypes in groups, and per token only the members of the
// groups whose centres score best. The scores of those are exact; what is lost is an expert whose group was not looked
// at, and `recall` measures how often that is.
#pragma once

#include "quiver/routing/token/token_router.h"

namespace quiver::routing {

struct GroupOptions {
  std::int64_t groups = 0;  ///< 0: the root of the number of experts
  std::int64_t probes = 4;  ///< groups looked at per token; more cost more and lose less
};

/// groups, probes.
void describe(GroupOptions& options, OptionSet& set);

class GroupedScores : public TokenScores {
 public:
  /// table: one direction per expert and site. Groups are made by k-means on the absolute cosine, for a direction's
  /// sign is arbitrary.
  GroupedScores(const SiteTable& table, std::int64_t experts, const std::vector<model::Site>& sites,
                const GroupOptions& options);
  /// |x . v_e| for the members of the groups looked at, minus infinity for the others.
  at::Tensor at(const std::vector<model::SiteColumns>& sites, const at::Tensor& x) const override;

 private:
  struct Site {
    at::Tensor centres;                ///< [G, in]
    at::Tensor members;                ///< [E, in], the directions in the order of their groups
    at::Tensor experts;                ///< int64 [E]: the expert of each row of `members`
    std::vector<std::int64_t> begins;  ///< of each group, and the end: G + 1
  };
  at::Tensor scores_at(const Site& site, const at::Tensor& x) const;

  std::int64_t experts_, probes_;
  std::vector<Site> sites_;
};

/// Share of the k best experts by `exact` [T, E] that have a finite score in `searched`.
double recall(const at::Tensor& exact, const at::Tensor& searched, std::int64_t k);

}  // namespace quiver::routing
