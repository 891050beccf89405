// SPDX-License-Identifier: Apache-2.0
// Merges against PEFT's add_weighted_adapter and NumPy transcriptions (tools/goldens/merge_golden.py).
#include <gtest/gtest.h>

#include <memory>

#include "quiver/merging/entrywise.h"
#include "quiver/merging/merge.h"
#include "quiver/merging/test_experts.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::merging {
namespace {

// PEFT works in float32 and both sides store it: 2^-24 of entries up to about 10, in sums of at most 12 terms; a
// truncation's error is that times the largest singular value over the gap behind the last one kept, here below 20.
constexpr double kTolerance = 2e-5;
const std::vector<std::string> kSites{"first", "second"};
const std::vector<double> kWeights{0.7, 0.5, -0.4};

class MergeGolden : public testing::Test {
 protected:
  void SetUp() override {
    file_ = tensor_io::open_safetensors(fs::path(QUIVER_SOURCE_DIR) / "tests/golden/merge/golden.safetensors");
    for (const auto* name : {"a", "b", "c"}) {
      adapter::Adapter adapter;
      for (const auto& site : kSites) {
        const auto key = fmt::format("expert.{}.{}.", name, site);
        adapter.sites[site] = {load(key + "lora_A"), load(key + "lora_B"), load(key + "scale").item<double>()};
      }
      experts_.push_back(adapter);
    }
    input_ = {{&experts_[0], &experts_[1], &experts_[2]}, kWeights};
  }

  at::Tensor load(const std::string& name) const { return file_->load(name).clone(); }

  void expect_product(const adapter::Adapter& merged, const std::string& label) {
    for (const auto& site : kSites)
      EXPECT_LT(largest_gap(difference(merged, site), load(label + "." + site + ".product")), kTolerance)
          << label << " " << site;
  }
  void expect_factors(const adapter::Adapter& merged, const std::string& label) {
    for (const auto& site : kSites) {
      const auto& f = merged.sites.at(site);
      EXPECT_EQ(f.scale, 1.0);
      EXPECT_LT(largest_gap(f.a, load(label + "." + site + ".lora_A")), kTolerance) << label << " " << site;
      EXPECT_LT(largest_gap(f.b, load(label + "." + site + ".lora_B")), kTolerance) << label << " " << site;
    }
  }
  adapter::Adapter merged(const std::string& method, const std::vector<std::pair<std::string, std::string>>& settings,
                          bool weighted = true) {
    return merge(method, weighted ? input_ : MergeInput{input_.experts, {}}, merge_options(method, settings));
  }
  /// Keeps what PEFT's random masks kept.
  EntryRule recorded(const std::string& label, bool elects, MergeOptions::Combine combine) {
    const auto sparsify = [this, label](const at::Tensor& t, const TensorKey& key) {
      const char* part = key.part == TensorKey::Part::a ? "a" : key.part == TensorKey::Part::b ? "b" : "product";
      return t * load(fmt::format("mask.{}.{}.{}.{}", label, key.site, part, key.expert)) / 0.6;
    };
    return {sparsify, elects, Divisor::count, combine};
  }

  std::shared_ptr<tensor_io::TensorSource> file_;
  std::vector<adapter::Adapter> experts_;
  MergeInput input_;
};

TEST_F(MergeGolden, PeftFactors) {
  expect_factors(merged("linear", {}), "linear");
  expect_factors(merged("cat", {}), "cat");
  expect_factors(merged("ties", {{"density", "0.6"}}), "ties");
  expect_factors(merged("magnitude-prune", {{"density", "0.6"}}), "magnitude-prune");
}

TEST_F(MergeGolden, PeftProducts) {
  expect_product(merged("svd", {{"rank", "3"}}), "svd");
  expect_product(merged("linear", {{"combine", "products"}, {"rank", "3"}}), "svd");
  expect_product(merged("ties-svd", {{"density", "0.6"}, {"rank", "3"}}), "ties-svd");
  expect_product(merged("magnitude-prune-svd", {{"density", "0.6"}, {"rank", "3"}}), "magnitude-prune-svd");
}

TEST_F(MergeGolden, PeftDareWithItsOwnMasks) {
  MergeOptions o;
  using Combine = MergeOptions::Combine;
  expect_factors(merge_entries(input_, o, recorded("dare-linear", false, Combine::factors)), "dare-linear");
  expect_factors(merge_entries(input_, o, recorded("dare-ties", true, Combine::factors)), "dare-ties");
  o.rank = 3;
  expect_product(merge_entries(input_, o, recorded("dare-linear-svd", false, Combine::products)), "dare-linear-svd");
  expect_product(merge_entries(input_, o, recorded("dare-ties-svd", true, Combine::products)), "dare-ties-svd");
}

TEST_F(MergeGolden, Mttl) {
  expect_product(merged("uniform", {}, false), "mttl-uniform");
  expect_product(
      merge("linear", {input_.experts, {1.0 / 3, 1.0 / 3, 1.0 / 3}}, merge_options("linear", {{"convention", "mttl"}})),
      "mttl-uniform");
  expect_product(merged("ties", {{"convention", "mttl"}, {"density", "0.3"}}, false), "mttl-ties");
  expect_product(merged("wudi", {{"learning_rate", "0.01"}, {"iterations", "40"}}, false), "wudi-factors");
  expect_product(
      merged("wudi", {{"learning_rate", "0.01"}, {"iterations", "40"}, {"combine", "products"}, {"rank", "3"}}, false),
      "wudi-products");
  expect_product(merged("project", {}, false), "project-fine");
  expect_product(merged("project", {{"granularity", "coarse"}}, false), "project-coarse");
  expect_product(merged("project", {{"combine", "products"}}, false), "project-products");
}

TEST_F(MergeGolden, Mergekit) {
  expect_product(merged("ties-svd", {{"convention", "mergekit"}, {"density", "0.6"}, {"rank", "3"}}),
                 "mergekit-ties-svd");
  expect_product(merged("breadcrumbs", {{"density", "0.7"}, {"gamma", "0.1"}, {"combine", "products"}, {"rank", "3"}}),
                 "breadcrumbs-products");
  input_ = {{&experts_[0], &experts_[1]}, {}};
  expect_product(merged("slerp", {{"t", "0.3"}}, false), "slerp-products");
  expect_product(merged("slerp", {{"t", "0.3"}, {"combine", "factors"}}, false), "slerp-factors");
}

TEST_F(MergeGolden, Knots) {
  expect_product(merged("knots", {}, false), "knots");
  expect_product(merged("knots", {{"density", "0.5"}}, false), "knots-half");
}

}  // namespace
}  // namespace quiver::merging
