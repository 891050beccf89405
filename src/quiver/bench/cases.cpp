// SPDX-License-Identifier: Apache-2.0
#include "quiver/bench/cases.h"

#include "quiver/bench/support.h"

namespace quiver::bench {

const std::vector<BenchCase>& bench_cases() {
  static const std::vector<BenchCase> cases{
      {"train", bench_train},
      {"together", bench_together},
      {"prefill", bench_prefill},
      {"decode", bench_decode},
      {"decode-arrow", bench_decode_arrow},
      {"arrow", bench_arrow},
      {"mixed", bench_mixed},
      {"load", bench_load},
      {"library", bench_library},
      {"machine", bench_machine},
  };
  return cases;
}

}  // namespace quiver::bench
