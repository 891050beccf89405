// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/consensus.h"

#include <gtest/gtest.h>

#include "quiver/merging/test_experts.h"

namespace quiver::merging {
namespace {

using Convention = MergeOptions::Convention;
using Sign = MergeOptions::Sign;

// Columns: a clear majority; a large value against two small ones; an exact tie; all zero.
const at::Tensor kEntries = at::tensor({1.0, 5.0, 2.0, 0.0,    //
                                        3.0, -1.0, -2.0, 0.0,  //
                                        -1.0, -2.0, 0.0, 0.0},
                                       at::kDouble)
                                .view({3, 4});

void expect(const std::vector<double>& expected, Convention convention, Sign sign, Divisor divisor,
            const std::vector<double>& weights = {1, 1, 1}) {
  const auto got = consensus(kEntries, at::tensor(weights, at::kDouble), convention, sign, divisor);
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_DOUBLE_EQ(got[static_cast<std::int64_t>(i)].item<double>(), expected[i]) << i;
}

TEST(Consensus, PeftCountsASumOfZeroAsPositive) {
  expect({2.0, 5.0, 2.0, 0.0}, Convention::peft, Sign::total, Divisor::count);
}

TEST(Consensus, MttlDropsEntriesWhoseSumIsZero) {
  expect({2.0, 5.0, 0.0, 0.0}, Convention::mttl, Sign::total, Divisor::count);
}

TEST(Consensus, FrequencyCountsExperts) {
  expect({2.0, -1.5, 2.0, 0.0}, Convention::peft, Sign::frequency, Divisor::count);
}

TEST(Consensus, PeftElectsBeforeWeightsMergekitAfter) {
  // With weights 0.1, 1, 1 the second column's sum is 0.5 - 3: mergekit turns its sign, PEFT does not.
  expect({1.55, 0.5, 0.2, 0.0}, Convention::peft, Sign::total, Divisor::count, {0.1, 1, 1});
  expect({3.1 / 1.1, -1.5, -2.0, 0.0}, Convention::mergekit, Sign::total, Divisor::weights, {0.1, 1, 1});
  expect({3.1, -3.0, -2.0, 0.0}, Convention::mergekit, Sign::total, Divisor::nothing, {0.1, 1, 1});
}

}  // namespace
}  // namespace quiver::merging
