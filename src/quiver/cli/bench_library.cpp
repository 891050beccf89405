// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include "quiver/adapter/peft.h"
#include "quiver/base/progress.h"
#include "quiver/cli/bench_support.h"
#include "quiver/clustering/mbc.h"
#include "quiver/library/library.h"
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

namespace {

/// A library of random experts in a temporary folder, gone with the object.
class RandomLibrary {
 public:
  RandomLibrary(const model::LanguageModel& model, const BenchOptions& o)
      : model_(model),
        random_(random_adapter(model, o.rank)),
        library_(library::Library::open_or_create(
            fs::temp_directory_path() / ("quiver-bench-library-" + std::to_string(getpid())), o.model.model,
            model.fingerprint())) {
    TerminalProgress progress;
    for (std::int64_t e = 0; e < o.experts; ++e) {
      progress.update("write experts", static_cast<std::uint64_t>(e), static_cast<std::uint64_t>(o.experts), "");
      add(e);
    }
    progress.finish();
  }
  ~RandomLibrary() {
    std::error_code ignored;
    fs::remove_all(library_.folder(), ignored);
  }
  RandomLibrary(const RandomLibrary&) = delete;
  RandomLibrary& operator=(const RandomLibrary&) = delete;

  const library::Library& library() const { return library_; }

  /// Experts differ by a turn of their A's: another random start of each costs more than all that is measured.
  void add(std::int64_t e) const {
    adapter::Adapter own{random_.options, {}};
    for (const auto& [site, f] : random_.sites) own.sites[site] = {f.a.roll(e + 1, 1), f.b, f.scale};
    library::ExpertInfo info;
    info.name = fmt::format("expert{:05}", e);
    info.base_fingerprint = model_.fingerprint();
    library_.save(info, own, false);
  }

  std::shared_ptr<adapter::Bank> bank() const {
    auto out = std::make_shared<adapter::Bank>(model_);
    const auto names = library_.names();
    const auto adapters = library_.load(names);
    for (std::size_t i = 0; i < names.size(); ++i) out->add(names[i], adapters[i]);
    return out;
  }

 private:
  const model::LanguageModel& model_;
  adapter::Adapter random_;
  library::Library library_;
};

}  // namespace

/// What a library of many experts costs: to open, to load, to make ready for Arrow, to cluster, and to add one more.
nlohmann::json bench_library(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const RandomLibrary random(model, o);
  SilentProgress silent;
  std::size_t known = 0;
  const double open = seconds_of([&] {
    const auto library = library::Library::open(random.library().folder());
    for (const auto& name : library.names()) known += library.info(name).identity.size() == 64;
  });
  std::shared_ptr<adapter::Bank> bank;
  const double load = seconds_of([&] { bank = random.bank(); });
  const double compute = seconds_of([&] { routing::library_prototypes(random.library(), *bank, silent); });
  const double again = seconds_of([&] { routing::library_prototypes(random.library(), *bank, silent); });
  const double cluster = seconds_of([&] {
    clustering::MbcOptions mbc;
    mbc.k_means.clusters = static_cast<std::size_t>(std::min<std::int64_t>(10, o.experts));
    clustering::cluster_library(random.library(), random.library().names(), mbc);
  });
  const double add = seconds_of([&] { random.add(o.experts); });
  return {{"experts", known},
          {"rank", o.rank},
          {"open_seconds", open},
          {"load_seconds", load},
          {"prototypes_seconds", compute},
          {"prototypes_again_seconds", again},
          {"cluster_seconds", cluster},
          {"add_seconds", add},
          {"seconds", load + compute}};
}

}  // namespace quiver::cli
