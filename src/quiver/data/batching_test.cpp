// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/batching.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/random.h"

namespace quiver::data {
namespace {

std::vector<std::size_t> some_lengths(std::size_t count) {
  Random random(5);
  std::vector<std::size_t> lengths(count);
  for (auto& length : lengths) length = 10 + random.below(200);
  return lengths;
}

TEST(EpochBatches, EveryRowStandsInExactlyOneBatch) {
  for (const std::size_t n_rows : {0, 1, 15, 16, 17, 64, 65, 1000}) {
    const auto batches = epoch_batches(n_rows, some_lengths(n_rows), {}, 2);
    std::vector<std::size_t> seen;
    for (const auto& batch : batches) {
      EXPECT_LE(batch.size(), 16u);
      seen.insert(seen.end(), batch.begin(), batch.end());
    }
    std::sort(seen.begin(), seen.end());
    ASSERT_EQ(seen.size(), n_rows);
    for (std::size_t i = 0; i < n_rows; ++i) EXPECT_EQ(seen[i], i);
    EXPECT_EQ(batches.size(), (n_rows + 15) / 16);
  }
}

TEST(EpochBatches, AreAFunctionOfSeedAndEpoch) {
  const auto lengths = some_lengths(200);
  BatchOptions options;
  EXPECT_EQ(epoch_batches(200, lengths, options, 0), epoch_batches(200, lengths, options, 0));
  EXPECT_NE(epoch_batches(200, lengths, options, 0), epoch_batches(200, lengths, options, 1));
  const auto first = epoch_batches(200, lengths, options, 0);
  options.seed = 1;
  EXPECT_NE(first, epoch_batches(200, lengths, options, 0));
}

TEST(EpochBatches, WindowsOfLikeLengthSavePadding) {
  const auto lengths = some_lengths(960);
  BatchOptions options;
  const auto with_windows = padding_factor(epoch_batches(960, lengths, options, 0), lengths);
  options.length_window_batches = 0;
  const auto without = padding_factor(epoch_batches(960, lengths, options, 0), lengths);
  EXPECT_LT(with_windows, 1.35);
  EXPECT_GT(without, 1.6);
}

TEST(EpochBatches, AHugeWindowIsTheWholeDataSet) {
  BatchOptions options;
  options.length_window_batches = ~std::size_t{0};
  const auto lengths = some_lengths(100);
  EXPECT_LT(padding_factor(epoch_batches(100, lengths, options, 0), lengths), 1.2);
}

TEST(EpochBatches, WithoutShuffleKeepsTheOrder) {
  BatchOptions options;
  options.shuffle = false;
  options.batch_rows = 2;
  EXPECT_EQ(epoch_batches(3, {}, options, 9), (std::vector<std::vector<std::size_t>>{{0, 1}, {2}}));
}

TEST(EpochBatches, RefuseWhatDoesNotFit) {
  BatchOptions options;
  const std::vector<std::size_t> two = {1, 2};
  EXPECT_THROW(epoch_batches(3, two, options, 0), Error);
  options.batch_rows = 0;
  EXPECT_THROW(epoch_batches(3, {}, options, 0), Error);
}

}  // namespace
}  // namespace quiver::data
