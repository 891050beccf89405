// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/benchmarks/mersenne.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/files.h"

namespace quiver::data {
namespace {

void expect_ends(const std::vector<std::size_t>& order, const nlohmann::json& golden) {
  const auto first = golden["first"].get<std::vector<std::size_t>>();
  const auto last = golden["last"].get<std::vector<std::size_t>>();
  ASSERT_GE(order.size(), first.size());
  EXPECT_TRUE(std::equal(first.begin(), first.end(), order.begin()));
  EXPECT_TRUE(std::equal(last.rbegin(), last.rend(), order.rbegin()));
}

TEST(Mersenne, OrdersAreTorchsAndPythons) {
  const auto golden = nlohmann::json::parse(read_file(fs::path(QUIVER_SOURCE_DIR) / "tests/golden/permutations.json"));
  ASSERT_GE(golden["cases"].size(), 14u);
  for (const auto& test : golden["cases"]) {
    SCOPED_TRACE(test["count"].dump() + " under " + test["seed"].dump());
    const auto count = test["count"].get<std::size_t>();
    const auto seed = test["seed"].get<std::uint64_t>();
    const auto by_torch = torch_permutation(count, seed), by_python = python_shuffle(count, seed);
    EXPECT_EQ(by_torch.size(), count);
    EXPECT_EQ(by_python.size(), count);
    expect_ends(by_torch, test["torch"]);
    expect_ends(by_python, test["python"]);
  }
}

TEST(Mersenne, RefusesWhereTorchCountsOtherwise) { EXPECT_THROW(torch_permutation(std::size_t{1} << 32, 42), Error); }

}  // namespace
}  // namespace quiver::data
