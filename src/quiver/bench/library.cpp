// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/progress.h"
#include "quiver/bench/support.h"
#include "quiver/clustering/mbc.h"
#include "quiver/library/library.h"
#include "quiver/routing/router_table.h"
#include "quiver/routing/token/directions.h"

namespace quiver::bench {
namespace {

/// PEFT folders of random adapters, gone with the object.
class AdapterFolders {
 public:
  AdapterFolders(const model::Model& model, const BenchOptions& o)
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

/// A library of random experts, in a temporary folder that goes with the object or in one that is kept.
class RandomLibrary {
 public:
  RandomLibrary(const model::Model& model, const BenchOptions& o)
      : model_(model),
        random_(random_adapter(model, o.rank)),
        kept_(!o.folder.empty()),
        library_(library::Library::open_or_create(
            kept_ ? fs::path(o.folder)
                  : fs::temp_directory_path() / ("quiver-bench-library-" + std::to_string(getpid())),
            o.model.model, model.fingerprint())) {
    SilentProgress progress;
    for (std::int64_t e = 0; e < o.experts; ++e) {
      progress.update("write experts", static_cast<std::uint64_t>(e), static_cast<std::uint64_t>(o.experts), "");
      if (!library_.contains(name_of(e))) add(e);
    }
    progress.finish();
    QUIVER_CHECK(static_cast<std::int64_t>(library_.names().size()) == o.experts, usage, "--folder " + o.folder,
                 "it holds {} experts, expected the {} of --experts and no other", library_.names().size(), o.experts);
  }
  ~RandomLibrary() {
    std::error_code ignored;
    if (!kept_) fs::remove_all(library_.folder(), ignored);
  }
  RandomLibrary(const RandomLibrary&) = delete;
  RandomLibrary& operator=(const RandomLibrary&) = delete;

  const library::Library& library() const { return library_; }

  static std::string name_of(std::int64_t e) { return fmt::format("expert{:05}", e); }

  /// Experts differ by a turn of their A's: another random start of each costs more than all that is measured.
  adapter::Adapter adapter(std::int64_t e) const {
    adapter::Adapter own{random_.options, {}};
    for (const auto& [site, f] : random_.sites) own.sites[site] = {f.a.roll(e + 1, 1), f.b, f.scale};
    return own;
  }

  void add(std::int64_t e) const {
    library::ExpertInfo info;
    info.name = name_of(e);
    info.base_fingerprint = model_.fingerprint();
    library_.save(info, adapter(e), false);
  }

  /// Takes an expert and what is derived of it out again, for good.
  void take_out(std::int64_t e) const {
    fs::remove_all(library_.expert_folder(name_of(e)));
    for (const auto& entry : fs::directory_iterator(library_.folder() / "derived" / "prototypes")) {
      if (entry.path().filename().string().starts_with(name_of(e) + "-")) fs::remove(entry.path());
    }
  }

  /// Its experts and what routers are made from.
  routing::RouterInputs inputs(Progress& progress) const {
    auto bank = std::make_shared<adapter::Bank>(model_);
    routing::RouterInputs out;
    for (const auto& expert : library_.load_experts(library_.names())) {
      bank->add(expert.info.name, expert.adapter);
      out.identities.push_back(expert.info.identity);
    }
    out.bank = std::move(bank);
    out.library = std::make_shared<const library::Library>(library_);
    out.progress = &progress;
    return out;
  }

 private:
  model::Model model_;
  adapter::Adapter random_;
  bool kept_;
  library::Library library_;
};

double mib_of_experts(const adapter::Bank& bank) {
  std::size_t bytes = 0;
  for (std::size_t s = 0; s < bank.model_sites().size(); ++s) {
    for (const auto& f : bank.site(static_cast<std::int64_t>(s)).experts)
      if (f.a.defined()) bytes += f.a.nbytes() + f.b.nbytes();
  }
  return static_cast<double>(bytes) / (1 << 20);
}

/// Place, size and time of change of every file of a library but its lock.
std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    struct stat status {};
    if (!entry.is_regular_file() || entry.path().filename() == ".lock" || stat(entry.path().c_str(), &status) != 0)
      continue;
    out[entry.path().string()] =
        fmt::format("{} {} {} {}", status.st_ino, status.st_size, status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
  }
  return out;
}

/// Adds an expert with its prototypes: the time of adding, and how many files of the others have changed.
nlohmann::json add_one_more(const RandomLibrary& random, std::int64_t number) {
  SilentProgress silent;
  const auto before = files_of(random.library().folder());
  const double seconds = seconds_of([&] { random.add(number); });
  routing::library_prototypes(random.inputs(silent));
  const auto after = files_of(random.library().folder());
  const auto changed = std::count_if(before.begin(), before.end(), [&](const auto& file) {
    const auto found = after.find(file.first);
    return found == after.end() || found->second != file.second;
  });
  random.take_out(number);
  return {
      {"add_seconds", seconds}, {"files_of_others_changed", changed}, {"files_added", after.size() - before.size()}};
}

}  // namespace

/// What a library of many experts costs: to open, to load, to make ready for Arrow, to route a pass with it, to
/// cluster, and to add one more. `memory_ratio` is the most memory held when the pass has been routed, over that of a
/// pass of the base model and the experts' bytes together.
nlohmann::json bench_library(const BenchOptions& o) {
  const auto model = load_model_only(o.model);
  const std::vector<std::vector<std::int32_t>> rows(4, random_ids(model, o.length, 0));
  forward(model, rows, nullptr);
  const double base_mib = peak_memory_mib();
  const RandomLibrary random(model, o);
  SilentProgress silent;
  std::size_t known = 0;
  const double open = seconds_of([&] {
    const auto library = library::Library::open(random.library().folder());
    for (const auto& name : library.names()) known += library.info(name).identity.size() == 64;
  });
  routing::RouterInputs inputs;
  const double load = seconds_of([&] { inputs = random.inputs(silent); });
  const double compute = seconds_of([&] { routing::library_prototypes(inputs); });
  std::unique_ptr<routing::Router> arrow;
  const double again = seconds_of([&] { arrow = routing::make_router(routing::parse_route("arrow"), inputs); });
  const double routed = seconds_of([&] { forward(model, rows, arrow.get()); });
  const double peak_mib = peak_memory_mib(), experts_mib = mib_of_experts(*inputs.bank);
  arrow.reset();
  inputs = {};
  auto out = add_one_more(random, o.experts);
  const double cluster = seconds_of([&] {
    clustering::MbcOptions mbc;
    mbc.k_means.clusters = static_cast<std::size_t>(std::min<std::int64_t>(10, o.experts));
    clustering::cluster_library(random.library(), random.library().names(), mbc);
  });
  out.update({{"experts", known},
              {"rank", o.rank},
              {"open_seconds", open},
              {"load_seconds", load},
              {"prototypes_seconds", compute},
              {"prototypes_again_seconds", again},
              {"routed_seconds", routed},
              {"base_mib", base_mib},
              {"experts_mib", experts_mib},
              {"routed_mib", peak_mib},
              {"memory_ratio", peak_mib / (base_mib + experts_mib)},
              {"cluster_seconds", cluster},
              {"seconds", load + compute}});
  return out;
}

}  // namespace quiver::bench
