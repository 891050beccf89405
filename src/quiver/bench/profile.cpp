// SPDX-License-Identifier: Apache-2.0
#include "quiver/bench/profile.h"

#include <ATen/record_function.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <vector>

namespace quiver::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Cost {
  double seconds = 0.0;
  std::int64_t calls = 0;
};

/// Callbacks of LibTorch are plain functions, so what they write to is one for the process.
struct Ledger {
  std::mutex mutex;
  std::map<std::string, Cost> costs;
};
Ledger& ledger() {
  static Ledger one;
  return one;
}

struct Running : at::ObserverContext {
  Clock::time_point start = Clock::now();
  double inner_seconds = 0.0;  ///< of operations called by this one
  Running* outer = nullptr;
};
thread_local Running* innermost = nullptr;

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction&) {
  auto running = std::make_unique<Running>();
  running->outer = innermost;
  innermost = running.get();
  return running;
}

void end(const at::RecordFunction& function, at::ObserverContext* context) {
  auto* running = static_cast<Running*>(context);
  const double seconds = std::chrono::duration<double>(Clock::now() - running->start).count();
  innermost = running->outer;
  if (innermost) innermost->inner_seconds += seconds;
  const std::lock_guard<std::mutex> lock(ledger().mutex);
  auto& cost = ledger().costs[function.name()];
  cost.seconds += seconds - running->inner_seconds;
  ++cost.calls;
}

}  // namespace

OperationProfile::OperationProfile()
    : handle_(at::addGlobalCallback(at::RecordFunctionCallback(begin, end)
                                        .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}))) {}

OperationProfile::~OperationProfile() { at::removeCallback(handle_); }

std::string OperationProfile::table() const {
  constexpr std::size_t kLines = 25;
  const std::lock_guard<std::mutex> lock(ledger().mutex);
  std::vector<std::pair<std::string, Cost>> rows(ledger().costs.begin(), ledger().costs.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  double total = 0.0;
  for (const auto& [name, cost] : rows) total += cost.seconds;
  std::string out = fmt::format("{:<60} {:>10} {:>7} {:>9}\n", "operation", "ms", "share", "calls");
  for (std::size_t i = 0; i < std::min(rows.size(), kLines); ++i) {
    const auto& [name, cost] = rows[i];
    out += fmt::format("{:<60} {:>10.1f} {:>6.1f}% {:>9}\n", name.substr(0, 60), cost.seconds * 1e3,
                       100.0 * cost.seconds / total, cost.calls);
  }
  return out;
}

}  // namespace quiver::bench
