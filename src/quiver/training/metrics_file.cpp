// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/metrics_file.h"

#include <nlohmann/json.hpp>
#include <sstream>

namespace quiver::training {

MetricsFile::MetricsFile(const fs::path& run_folder, std::int64_t step) {
  const auto path = run_folder / "metrics.jsonl";
  std::string kept;
  if (fs::exists(path)) {
    std::istringstream lines(read_file(path));
    for (std::string line; std::getline(lines, line);) {
      const auto object = nlohmann::json::parse(line, nullptr, false);  // the last line may be cut short
      if (object.is_object() && object.value("step", std::int64_t{0}) <= step && step > 0) kept += line + "\n";
    }
  }
  write_file_atomically(path, kept);
  stream_.open(path, std::ios::app);
}

void MetricsFile::write(const nlohmann::json& line) { stream_ << line.dump() << '\n' << std::flush; }

}  // namespace quiver::training
