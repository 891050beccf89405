// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/merge.h"

#include <ATen/Parallel.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/merging/low_rank.h"
#include "quiver/merging/project.h"
#include "quiver/merging/slerp.h"
#include "quiver/merging/test_experts.h"

namespace quiver::merging {
namespace {

constexpr double kFloatTolerance = 1e-5;  // float32 factors, differences up to about 30
const std::string kQ = "x.q_proj", kUp = "x.up_proj";

using Settings = std::vector<std::pair<std::string, std::string>>;

class Merge : public testing::Test {
 protected:
  adapter::Adapter merged(const std::string& method, const std::vector<std::size_t>& which,
                          const std::vector<double>& weights = {}, const Settings& settings = {}) {
    MergeInput input{{}, weights};
    for (const auto e : which) input.experts.push_back(&experts_[e]);
    return merge(method, input, merge_options(method, settings));
  }
  at::Tensor dense(std::size_t e, const std::string& site) {
    return difference(experts_[e], site, site == kQ ? 9 : 5, site == kQ ? 7 : 8);
  }
  void expect_error(const std::string& method, const Settings& settings, const std::string& part,
                    const std::vector<double>& weights = {}) {
    try {
      merged(method, {0, 2}, weights, settings);
      ADD_FAILURE() << method << " passed, expected: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }
  std::vector<adapter::Adapter> experts_{uneven_expert(0), uneven_expert(1), uneven_expert(2)};
};

TEST_F(Merge, OneExpertIsReturnedAsItIs) {
  for (const auto& help : merge_table()) {
    const auto out = merged(help.name, {0});
    EXPECT_EQ(adapter::identity(out), adapter::identity(experts_[0])) << help.name;
    EXPECT_EQ(out.options.rank_stabilised, experts_[0].options.rank_stabilised);
  }
}

TEST_F(Merge, EveryMethodTakesUnevenExpertsAndGivesScaleOne) {
  for (const auto& help : merge_table()) {
    const auto which = help.name == "slerp" ? std::vector<std::size_t>{1, 2} : std::vector<std::size_t>{0, 1, 2};
    const auto out = merged(help.name, which);
    EXPECT_EQ(out.sites.size(), 2u) << help.name;
    for (const auto& [site, f] : out.sites) {
      EXPECT_EQ(f.scale, 1.0);
      EXPECT_EQ(f.a.scalar_type(), at::kFloat);
      EXPECT_TRUE(f.a.isfinite().all().item<bool>() && f.b.isfinite().all().item<bool>()) << help.name;
    }
  }
}

TEST_F(Merge, ExactSumsAreExact) {
  for (const auto& site : {kQ, kUp}) {
    const auto sum = dense(0, site) * 0.5 + dense(1, site) * 2.0 - dense(2, site);
    EXPECT_LT(largest_gap(difference(merged("cat", {0, 1, 2}, {0.5, 2, -1}), site), sum), kFloatTolerance);
    EXPECT_LT(largest_gap(difference(merged("linear", {0, 1, 2}, {0.5, 2, -1}, {{"combine", "products"}}), site), sum),
              kFloatTolerance);
    EXPECT_LT(largest_gap(difference(merged("task-arithmetic", {0, 1, 2}, {0.5, 2, -1}, {{"lambda", "0.5"}}), site),
                          sum * 0.5),
              kFloatTolerance);
    const auto mean = (dense(0, site) + dense(1, site) + dense(2, site)) / 3.0;
    EXPECT_LT(largest_gap(difference(merged("uniform", {0, 1, 2}, {}, {{"combine", "products"}}), site), mean),
              kFloatTolerance);
    EXPECT_LT(largest_gap(difference(merged("subtract", {0, 1, 2}, {1, 0.5, 2}), site),
                          dense(0, site) - dense(1, site) * 0.5 - dense(2, site) * 2.0),
              kFloatTolerance);
    EXPECT_LT(largest_gap(difference(merged("subtract", {0, 1, 2}), site),
                          dense(0, site) - (dense(1, site) + dense(2, site)) / 2.0),
              kFloatTolerance);
  }
}

TEST_F(Merge, AnExpertMinusItselfIsNothing) {
  const auto out = merged("subtract", {2, 2});
  EXPECT_LT(difference(out, kQ).abs().max().item<double>(), kFloatTolerance);
}

TEST_F(Merge, EqualExpertsMergeToThemselves) {
  // Means of factors, of differences and of agreeing entries give one expert back, but PEFT's `linear`, whose factors
  // grow with the square root of N, gives N of it.
  for (const auto* method : {"uniform", "cat", "svd", "slerp", "knots", "repair"})
    EXPECT_LT(largest_gap(difference(merged(method, {2, 2}), kQ), dense(2, kQ)), kFloatTolerance) << method;
  EXPECT_LT(largest_gap(difference(merged("ties", {2, 2}, {}, {{"density", "1"}}), kQ), dense(2, kQ)), kFloatTolerance);
  EXPECT_LT(largest_gap(difference(merged("linear", {2, 2}), kQ), dense(2, kQ) * 2.0), 2 * kFloatTolerance);
}

TEST_F(Merge, TruncationIsTheBestOfItsRank) {
  const auto sum = dense(0, kQ) + dense(2, kQ);
  const auto [u, s, vh] = at::linalg_svd(sum, false);
  const auto best = at::mm(u.narrow(1, 0, 3) * s.narrow(0, 0, 3), vh.narrow(0, 0, 3));
  const auto out = merged("svd", {0, 2}, {1, 1}, {{"rank", "3"}});
  EXPECT_EQ(out.sites.at(kQ).a.size(0), 3);
  EXPECT_LT(largest_gap(difference(out, kQ), best), kFloatTolerance);
  for (const auto& matrix : {sum, sum.t().contiguous()}) {
    const auto f = truncate_dense(matrix, 3);
    EXPECT_LT(largest_gap(at::mm(f.b, f.a), matrix.size(0) == 9 ? best : best.t()), kFloatTolerance);
    EXPECT_LT(largest_gap(at::mm(f.a, f.a.t()), at::eye(3, at::kDouble)), kFloatTolerance);
  }
  EXPECT_EQ(merged("svd", {0, 2}).sites.at(kQ).a.size(0), 4);  // the larger of 2 and 4
}

TEST_F(Merge, ARankIsThatOfTheResultWhateverIsCombined) {
  for (const auto& help : merge_table()) {
    if (help.options.find("rank=") == help.options.npos) continue;
    for (const char* combine : {"", "factors", "products"}) {
      if (*combine && help.options.find("combine=") == help.options.npos) continue;
      auto settings = *combine ? Settings{{"combine", combine}} : Settings{};
      settings.emplace_back("rank", "9");
      const auto whole = merged(help.name, {0, 2}, {}, settings);
      settings.back().second = "1";
      const auto out = merged(help.name, {0, 2}, {}, settings);
      const auto& f = whole.sites.at(kQ);
      const auto best = truncate({f.a.to(at::kDouble), f.b.to(at::kDouble), f.scale}, 1);
      const auto label = help.name + " " + combine;
      EXPECT_EQ(out.sites.at(kQ).a.size(0), 1) << label;
      EXPECT_EQ(out.options.rank, 1) << label;
      EXPECT_LT(largest_gap(difference(out, kQ), at::mm(best.b, best.a)), 10 * kFloatTolerance) << label;
    }
  }
}

TEST_F(Merge, OneExpertIsThinnedOutWhereADensityIsGiven) {
  const auto out = merged("magnitude-prune", {0}, {1}, {{"density", "0.5"}});
  EXPECT_EQ(out.sites.at(kQ).a.ne(0).sum().item<std::int64_t>(), out.sites.at(kQ).a.numel() / 2);
}

TEST_F(Merge, OptionsThatSayTwoThingsAreRefused) {
  expect_error("slerp", {{"t", "0.2"}}, "expected one of the two", {1, 3});
  expect_error("linear", {{"convention", "mttl"}, {"combine", "products"}}, "convention=mttl");
  expect_error("repair", {{"density", "0.3"}}, "which step=ties and dare-ties read");
  expect_error("repair", {{"step", "ties"}, {"seed", "3"}}, "which step=dare-ties reads");
  EXPECT_THROW(merged("slerp", {0}, {}, {{"t", "0.3"}}), Error);
}

TEST_F(Merge, SlerpFollowsTheArc) {
  const auto [c, d] = slerp_coefficients(1.0, 1.0, 0.0, 1.0 / 3.0);  // a right angle: sin 60 and sin 30 degrees
  EXPECT_NEAR(c, std::sqrt(3.0) / 2, 1e-12);
  EXPECT_NEAR(d, 0.5, 1e-12);
  EXPECT_EQ(slerp_coefficients(1.0, 4.0, 2.0, 0.25), (std::pair{0.75, 0.25}));   // parallel
  EXPECT_EQ(slerp_coefficients(1.0, 1.0, -1.0, 0.25), (std::pair{0.75, 0.25}));  // opposite
  EXPECT_EQ(slerp_coefficients(1.0, 0.0, 0.0, 0.25), (std::pair{0.75, 0.25}));   // nothing to turn to
  for (const auto* combine : {"factors", "products"}) {
    EXPECT_LT(
        largest_gap(difference(merged("slerp", {0, 2}, {}, {{"t", "0"}, {"combine", combine}}), kQ), dense(0, kQ)),
        kFloatTolerance);
    EXPECT_LT(largest_gap(difference(merged("slerp", {0, 2}, {0, 2}, {{"combine", combine}}), kQ), dense(2, kQ)),
              kFloatTolerance);
  }
  expect_error("slerp", {{"t", "1.5"}}, "expected a number, 0 to 1");
  EXPECT_THROW(merged("slerp", {0, 1, 2}), Error);
}

TEST_F(Merge, ProjectionFindsTheCoefficients) {
  // x_0 = 2 x_1 - x_2 with <x_1, x_1> = 1, <x_2, x_2> = 4, <x_1, x_2> = 1.
  const auto gram = at::tensor({4.0, 1.0, -2.0, 1.0, 1.0, 1.0, -2.0, 1.0, 4.0}, at::kDouble).view({3, 3});
  EXPECT_LT(largest_gap(projection_coefficients(gram), at::tensor({2.0, -1.0}, at::kDouble)), 1e-12);
  // The same expert twice: the coefficient is shared, not undefined.
  const auto twice = at::tensor({1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}, at::kDouble).view({3, 3});
  EXPECT_LT(largest_gap(projection_coefficients(twice), at::tensor({0.5, 0.5}, at::kDouble)), 1e-12);
  // An expert among the others is found again; where they lack a site nothing is.
  for (const auto* granularity : {"fine", "coarse"}) {
    const auto out = merged("project", {0, 1, 0}, {}, {{"granularity", granularity}});
    EXPECT_LT(largest_gap(difference(out, kQ), dense(0, kQ)), kFloatTolerance) << granularity;
    EXPECT_EQ(merged("project", {0, 1}, {}, {{"granularity", granularity}}).sites.count(kUp), 0u);
  }
}

TEST_F(Merge, RepairDependsOnTheOrder) {
  const auto forward = merged("repair", {0, 1, 2}), backward = merged("repair", {2, 1, 0});
  EXPECT_GT(largest_gap(difference(forward, kQ), difference(backward, kQ)), 0.1);
  EXPECT_LT(largest_gap(difference(merged("repair", {0, 2}), kQ), difference(merged("uniform", {0, 2}), kQ)),
            kFloatTolerance);
  for (const auto* step : {"ties", "dare-ties"})
    EXPECT_EQ(merged("repair", {0, 1, 2}, {}, {{"step", step}}).sites.size(), 2u);
}

/// Remembers the last that it was told.
class Told : public Progress {
 public:
  void update(const std::string&, std::uint64_t done, std::uint64_t total, const std::string&) override {
    EXPECT_EQ(done, done_ + 1) << "each once, in order";
    done_ = done;
    total_ = total;
  }
  void finish() override {
    EXPECT_EQ(done_, total_);
    ++finished_;
    done_ = 0;
  }
  void say(const std::string& line) override { ADD_FAILURE() << line; }
  std::uint64_t done_ = 0, total_ = 0;
  int finished_ = 0;
};

TEST_F(Merge, ProgressIsToldOfEverySite) {
  for (const auto& help : merge_table()) {
    Told told;
    const MergeInput input{{&experts_[0], &experts_[2]}, {}, &told};
    merge(help.name, input, merge_options(help.name, {}));
    EXPECT_GE(told.finished_, 1) << help.name;
    EXPECT_EQ(told.total_, help.name == "repair" ? 1u : 2u) << help.name;
  }
}

TEST_F(Merge, RandomChoicesDependOnTheSeedAlone) {
  const auto once = merged("dare-linear", {0, 1, 2}, {}, {{"seed", "4"}});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  EXPECT_EQ(adapter::identity(merged("dare-linear", {0, 1, 2}, {}, {{"seed", "4"}})), adapter::identity(once));
  at::set_num_threads(threads);
  EXPECT_NE(adapter::identity(merged("dare-linear", {0, 1, 2}, {}, {{"seed", "5"}})), adapter::identity(once));
  EXPECT_NE(adapter::identity(merged("della", {0, 1, 2}, {}, {{"seed", "5"}})),
            adapter::identity(merged("della", {0, 1, 2})));
}

TEST_F(Merge, ABfloat16FactorIsConverted) {
  auto rounded = experts_[0];
  for (auto& [site, f] : rounded.sites) f.a = f.a.to(at::kBFloat16);
  const auto out = merge("cat", {{&rounded, &experts_[2]}, {1, 0}}, {});
  EXPECT_LT(largest_gap(difference(out, kQ), difference(rounded, kQ)), kFloatTolerance);
}

TEST_F(Merge, TheResultIsWrittenAndReadBackEqual) {
  std::string pattern = (fs::temp_directory_path() / "quiver_merge_XXXXXX").string();
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  const auto out = merged("cat", {0, 1, 2});  // ranks 9 and 4
  adapter::write_peft(pattern, out, "base");
  EXPECT_EQ(adapter::identity(adapter::read_peft(pattern)), adapter::identity(out));
  fs::remove_all(pattern);
}

TEST_F(Merge, WrongUsageNamesTheNearest) {
  expect_error("tise", {}, "did you mean 'ties'");
  expect_error("ties", {{"densty", "0.5"}}, "did you mean 'density'");
  expect_error("cat", {{"rank", "3"}}, "no option 'rank'");
  expect_error("svd", {{"density", "0.3"}}, "no option 'density'");
  expect_error("ties", {{"convention", "mergekt"}}, "did you mean 'mergekit'");
  expect_error("ties-svd", {{"convention", "mttl"}}, "convention=mttl");
  expect_error("ties", {{"density", "0"}}, "above 0");
  expect_error("ties", {{"density", "much"}}, "expected a number");
  expect_error("svd", {{"rank", "2.5"}}, "expected a whole number");
  expect_error("della", {{"density", "0.9"}, {"epsilon", "0.2"}}, "epsilon=0.2");
  expect_error("cat", {}, "3 weights for 2 experts", {1, 1, 1});
  expect_error("wudi", {}, "takes no weights", {1, 2});
  EXPECT_THROW(merge("cat", {}, {}), Error);
}

/// Every method over these two experts, with each kind of combining that it has; only `project` may find nothing to
/// keep.
void expect_finite_merges(const std::vector<adapter::Adapter>& experts, bool zero) {
  for (const auto& method : merge_table()) {
    for (const char* combine : {"", "factors", "products"}) {
      if (*combine && method.options.find("combine=") == method.options.npos) continue;
      const auto settings = *combine ? Settings{{"combine", combine}} : Settings{};
      const auto label = method.name + " " + combine;
      MergeInput input{{&experts[0], &experts[1]}, {}};
      try {
        const auto merged = merge(method.name, input, merge_options(method.name, settings));
        EXPECT_FALSE(merged.sites.empty()) << label;
        for (const auto& [site, f] : merged.sites) {
          EXPECT_TRUE(f.a.isfinite().all().item<bool>() && f.b.isfinite().all().item<bool>()) << label << " " << site;
          EXPECT_TRUE(!zero || difference(merged, site).abs().max().item<double>() == 0.0) << label << " " << site;
        }
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::usage) << label << ": " << error.what();
        EXPECT_NE(std::string(error.what()).find("touches no site"), std::string::npos) << label << error.what();
        EXPECT_EQ(method.name, "project");
      }
    }
  }
}

TEST_F(Merge, ExpertsThatDoNothingMergeToNothing) {
  auto untrained = uneven_expert(0), mute = uneven_expert(2);
  for (auto& [site, f] : untrained.sites) f.b = at::zeros_like(f.b);
  for (auto& [site, f] : mute.sites) f.scale = 0.0;
  expect_finite_merges({untrained, untrained}, true);
  expect_finite_merges({mute, untrained}, true);
  expect_finite_merges({mute, experts_[1]}, false);
  expect_finite_merges({untrained, experts_[1]}, false);
}

TEST_F(Merge, ExpertsThatShareNoSiteMergeOrAreRefusedInWords) {
  auto queries = uneven_expert(0), ups = uneven_expert(2);
  queries.sites.erase(kUp);
  ups.sites.erase(kQ);
  expect_finite_merges({queries, ups}, false);
}

TEST_F(Merge, NumbersBeyondFloat32AreAnError) {
  auto large = uneven_expert(0);
  for (auto& [site, f] : large.sites) f.a = f.a * 1e30;
  MergeInput input{{&large, &large}, {1e30, 1e30}};
  try {
    merge("cat", input, merge_options("cat", {}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::format) << error.what();
  }
}

TEST_F(Merge, SitesOfTwoShapesAreRefused) {
  auto other = experts_[0];
  other.sites[kQ] = random_factors(6, 9, 2, 1.0, 1);
  try {
    merge("cat", {{&experts_[0], &other}, {}}, {});
    ADD_FAILURE() << "passed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::mismatch);
    EXPECT_NE(std::string(error.what()).find(kQ), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace quiver::merging
