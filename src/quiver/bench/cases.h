// SPDX-License-Identifier: Apache-2.0
// What `quiver bench` measures: the same work as the peers' script does, so that the two can be set side by side.
#pragma once

#include <nlohmann/json.hpp>

#include "quiver/workspace/experts.h"
#include "quiver/workspace/tasks.h"

namespace quiver::bench {

struct BenchOptions {
  std::string name;
  workspace::ModelOptions model;
  std::int64_t rank = 16, batch = 4, length = 512, new_tokens = 64, experts = 8, runs = 3;
  std::string task;
  std::string folder;  ///< of the library of `library`; empty: a temporary one
  bool json = false, profile = false;
};

struct BenchCase {
  const char* name;
  nlohmann::json (*run)(
      const BenchOptions&);  ///< figures: tokens_per_second or seconds, and ratio where there is a base
};
const std::vector<BenchCase>& bench_cases();

}  // namespace quiver::bench
