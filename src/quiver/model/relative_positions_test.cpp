// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/relative_positions.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "quiver/base/files.h"

namespace quiver::model {
namespace {

TEST(RelativePositions, BucketsAreThoseOfTransformers) {
  const auto file = fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "relative_buckets.json";
  const auto golden = nlohmann::json::parse(read_file(file, 1 << 20));
  const auto reach = golden["reach"].get<std::int64_t>();
  const auto distances = at::arange(-reach, reach + 1, at::kLong);
  ASSERT_EQ(golden["cases"].size(), 16u);
  for (const auto& entry : golden["cases"]) {
    const auto expected = at::tensor(entry["of"].get<std::vector<std::int64_t>>(), at::kLong);
    EXPECT_TRUE(buckets_of(distances, entry["buckets"], entry["max_distance"], entry["two_sided"]).equal(expected))
        << entry["buckets"] << " up to " << entry["max_distance"];
  }
}

}  // namespace
}  // namespace quiver::model
