// SPDX-License-Identifier: Apache-2.0
// Where the golden numbers lie, and how far what is computed is from them.
#pragma once

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "quiver/base/files.h"

namespace quiver {

using Ids = std::vector<std::int32_t>;

/// A file or folder of tests/golden.
inline fs::path golden(const std::string& name) { return fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / name; }

inline Ids ids_of(const at::Tensor& tensor) {
  const auto wide = tensor.to(at::kLong).contiguous();
  return {wide.const_data_ptr<std::int64_t>(), wide.const_data_ptr<std::int64_t>() + wide.numel()};
}

/// Largest difference as a share of the expected values' spread.
inline double distance(const at::Tensor& got, const at::Tensor& expected) {
  EXPECT_EQ(got.sizes(), expected.sizes());
  const auto spread = (expected.max() - expected.min()).clamp_min(1e-12).item<double>();
  return (got.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>() / spread;
}

}  // namespace quiver
