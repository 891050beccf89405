// SPDX-License-Identifier: Apache-2.0
// The figures of a run as JSON lines, RUN/metrics.jsonl: one line a step, one a validation.
#pragma once

#include <fstream>
#include <nlohmann/json_fwd.hpp>

#include "quiver/base/files.h"

namespace quiver::training {

class MetricsFile {
 public:
  /// Opens for appending and drops lines of steps after `step`: those that a killed run had done beyond its checkpoint.
  MetricsFile(const fs::path& run_folder, std::int64_t step);
  void write(const nlohmann::json& line);

 private:
  std::ofstream stream_;
};

}  // namespace quiver::training
