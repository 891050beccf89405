// SPDX-License-Identifier: Apache-2.0
#include "quiver/kernels/top_k.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "quiver/base/random.h"

namespace quiver::kernels {
namespace {

/// Sorts all experts: the specification.
void reference(const float* scores, const TopKShape& s, std::int32_t* chosen, float* weights) {
  for (std::int64_t t = 0; t < s.tokens; ++t, scores += s.experts, chosen += s.k, weights += s.k) {
    std::vector<std::int32_t> order(static_cast<std::size_t>(s.experts));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return scores[a] > scores[b]; });
    double sum = 0.0;
    for (std::int64_t i = 0; i < s.k; ++i)
      sum += std::exp((scores[order[static_cast<std::size_t>(i)]] - scores[order[0]]) * s.inverse_temperature);
    for (std::int64_t i = 0; i < s.k; ++i) {
      chosen[i] = order[static_cast<std::size_t>(i)];
      weights[i] = static_cast<float>(std::exp((scores[chosen[i]] - scores[order[0]]) * s.inverse_temperature) / sum);
    }
  }
}

TEST(TopK, EqualsASortAtEveryShape) {
  Random random(3);
  for (const std::int64_t experts : {1, 2, 7, 8, 9, 33}) {
    for (const std::int64_t k : {std::int64_t{1}, std::min<std::int64_t>(3, experts), experts}) {
      for (const std::int64_t tokens : {0, 1, 5}) {
        const TopKShape shape{tokens, experts, k, 0.7f};
        std::vector<float> scores(static_cast<std::size_t>(tokens * experts));
        for (auto& s : scores) s = static_cast<float>(random.below(6));  // many ties
        std::vector<std::int32_t> chosen(static_cast<std::size_t>(tokens * k)), expected_chosen(chosen.size());
        std::vector<float> weights(chosen.size()), expected(chosen.size());
        top_k_softmax(scores.data(), shape, chosen.data(), weights.data());
        reference(scores.data(), shape, expected_chosen.data(), expected.data());
        EXPECT_EQ(chosen, expected_chosen);
        for (std::size_t i = 0; i < weights.size(); ++i) EXPECT_NEAR(weights[i], expected[i], 1e-6);
      }
    }
  }
}

TEST(TopK, NanAndInfinityDoNotWin) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const std::vector<float> scores{nan, 1.0f, -inf, 2.0f};
  std::vector<std::int32_t> chosen(3);
  std::vector<float> weights(3);
  top_k_softmax(scores.data(), {1, 4, 3, 1.0f}, chosen.data(), weights.data());
  EXPECT_EQ(chosen[0], 3);
  EXPECT_EQ(chosen[1], 1);
  EXPECT_EQ(weights[2], 0.0f);
  EXPECT_NEAR(weights[0] + weights[1], 1.0f, 1e-6);
}

}  // namespace
}  // namespace quiver::kernels
