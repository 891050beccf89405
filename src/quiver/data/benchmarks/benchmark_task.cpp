// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/benchmarks/benchmark_task.h"

#include <algorithm>
#include <numeric>

#include "quiver/base/error.h"
#include "quiver/data/benchmarks/mersenne.h"

namespace quiver::data {
namespace {

using Indices = std::vector<std::size_t>;

constexpr std::uint64_t kSplitSeed = 42;
constexpr std::size_t kHeldOut = 1000;

Indices ascending(std::size_t count) {
  Indices out(count);
  std::iota(out.begin(), out.end(), std::size_t{0});
  return out;
}

/// The first `count` of a permutation, and the rest.
std::pair<Indices, Indices> cut(const Indices& order, std::size_t count) {
  const auto border = order.begin() + static_cast<std::ptrdiff_t>(std::min(count, order.size()));
  return {{order.begin(), border}, {border, order.end()}};
}

class BenchmarkReader {
 public:
  BenchmarkReader(const Benchmark& benchmark, const fs::path& folder, const BenchmarkOptions& options)
      : benchmark_(benchmark), folder_(folder), options_(options) {
    if (fs::is_directory(folder / benchmark.folder)) folder_ = folder / benchmark.folder;
    task_.name = benchmark.name;
    task_.metrics = benchmark.metrics;
  }

  Task read() {
    const auto train = items_of(benchmark_.train);
    switch (benchmark_.split_rule) {
      case SplitRule::halved: {
        const auto rest = items_of(benchmark_.validation);
        const auto [validation, test] = cut(torch_permutation(rest.size(), kSplitSeed), rest.size() / 2);
        add_train(train, ascending(train.size()), {});
        add(rest, validation, Split::validation);
        add(rest, test, Split::test);
        break;
      }
      case SplitRule::held_out: {
        QUIVER_CHECK(train.size() > kHeldOut, format, path_of(benchmark_.train).string(),
                     "expected more than {} examples, which are held out for validation, came {}", kHeldOut,
                     train.size());
        const auto [validation, rest] = cut(torch_permutation(train.size(), kSplitSeed), kHeldOut);
        add_train(train, rest, validation);
        add(train, validation, Split::validation);
        add_whole(benchmark_.test, Split::test);
        break;
      }
      case SplitRule::given:
        add_train(train, ascending(train.size()), {});
        add_whole(benchmark_.validation, Split::validation);
        add_whole(benchmark_.test, Split::test);
        break;
    }
    return std::move(task_);
  }

 private:
  fs::path path_of(std::string_view name) const { return folder_ / name; }

  std::vector<Item> items_of(std::string_view name) const {
    const auto path = path_of(name);
    const auto packed = fs::path(path.string() + ".gz");
    QUIVER_CHECK(fs::exists(path) || !fs::exists(packed), unsupported, packed.string(),
                 "expected an unpacked file; run gunzip on it");
    std::vector<Item> items;
    benchmark_.read(path, [&](const Record& record) { benchmark_.render(benchmark_, record, items); });
    QUIVER_CHECK(!items.empty(), format, path.string(), "expected at least one example, came none");
    return items;
  }

  void add(const std::vector<Item>& items, const Indices& order, Split split) {
    for (const auto i : order) {
      for (auto example : items[i]) {
        example.split = split;
        if (!options_.list_options) example.options.clear();
        task_.examples.push_back(std::move(example));
      }
    }
  }

  void add_whole(std::string_view name, Split split) {
    const auto items = items_of(name);
    add(items, ascending(items.size()), split);
  }

  void add_train(const std::vector<Item>& items, Indices order, const Indices& held_out) {
    if (options_.few_shot.shots > 0) {
      order = choose_few_shot(few_shot_items(items, held_out), options_.few_shot);
    } else if (benchmark_.train_limit > 0 && order.size() > benchmark_.train_limit) {
      order.resize(benchmark_.train_limit);
    }
    add(items, order, Split::train);
  }

  FewShotItems few_shot_items(const std::vector<Item>& items, const Indices& held_out) const {
    FewShotItems out;
    out.classes = benchmark_.labels.size();
    for (const auto& item : items) out.labels.push_back(out.classes > 0 ? item.front().target : std::string());
    out.taken.assign(items.size(), false);
    for (const auto i : held_out) out.taken[i] = true;
    return out;
  }

  const Benchmark& benchmark_;
  fs::path folder_;
  const BenchmarkOptions& options_;
  Task task_;
};

}  // namespace

Task read_benchmark(const Benchmark& benchmark, const fs::path& folder, const BenchmarkOptions& options) {
  return BenchmarkReader(benchmark, folder, options).read();
}

}  // namespace quiver::data
