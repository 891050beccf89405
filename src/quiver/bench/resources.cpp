// SPDX-License-Identifier: Apache-2.0
#include "quiver/bench/resources.h"

#include <sys/resource.h>

#include <chrono>

namespace quiver::bench {

double seconds_of(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double peak_memory_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

}  // namespace quiver::bench
