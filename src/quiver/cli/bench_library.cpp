// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "quiver/adapter/peft.h"
#include "quiver/cli/bench_support.h"
#include "quiver/routing/directions.h"

namespace quiver::cli {
namespace {

/// PEFT folders of random adapters, gone with the object.
class AdapterFolders {
 public:
  AdapterFolders(const model::LanguageModel& model, const BenchOptions& o)
      : folder_(fs::temp_directory_path() / ("quiver-bench-" + std::to_string(getpid()))) {
    for (std::int64_t e = 0; e < o.experts; ++e) {
      paths_.push_back(folder_ / ("expert" + std::to_string(e)));
      fs::create_directories(paths_.back());
      adapter::write_peft(paths_.back(), random_adapter(model, o.rank), o.model.model);
    }
  }
  ~AdapterFolders() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  AdapterFolders(const AdapterFolders&) = delete;
  AdapterFolders& operator=(const AdapterFolders&) = delete;

  void load_into(adapter::Bank& bank) const {
    for (const auto& path : paths_) bank.add(path.filename().string(), adapter::read_peft(path));
  }

 private:
  fs::path folder_;
  std::vector<fs::path> paths_;
};

}  // namespace

nlohmann::json bench_load(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const AdapterFolders folders(model, o);
  const double seconds = seconds_of([&] {
    adapter::Bank bank(model);
    folders.load_into(bank);
  });
  return {{"experts", o.experts}, {"rank", o.rank}, {"seconds", seconds}};
}

/// Loading the experts and computing Arrow's prototypes, which reads every factor.
nlohmann::json bench_library(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const AdapterFolders folders(model, o);
  SilentProgress silent;
  adapter::Bank bank(model);
  const double load = seconds_of([&] { folders.load_into(bank); });
  const double prototypes = seconds_of([&] { routing::compute_directions(bank, {}, silent); });
  return {{"experts", o.experts},
          {"rank", o.rank},
          {"load_seconds", load},
          {"prototypes_seconds", prototypes},
          {"seconds", load + prototypes}};
}

}  // namespace quiver::cli
