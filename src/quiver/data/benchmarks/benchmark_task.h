// SPDX-License-Identifier: Apache-2.0
// A benchmark's public files as a task, split as benchmark.h says.
#pragma once

#include "quiver/data/benchmarks/benchmark.h"
#include "quiver/data/benchmarks/few_shot.h"

namespace quiver::data {

struct BenchmarkOptions {
  FewShotOptions few_shot = {};  ///< of the training split alone; validation and test stay whole
  /// Examples carry their options, so that evaluation ranks these. false: it generates and compares, as published
  /// results of encoder-decoders do.
  bool list_options = false;
};

/// The task, named after the benchmark: rows of train, validation and test in the order of their splits. `folder` holds
/// the files, or the benchmark's own folder with them.
///
/// A few-shot sample is drawn from the training file as PEMT draws it, but never from the 1000 rows that `held_out`
/// makes validation, which PEMT's code leaves among its candidates. Throws Error{not_found|format|usage|unsupported}.
Task read_benchmark(const Benchmark& benchmark, const fs::path& folder, const BenchmarkOptions& options = {});

}  // namespace quiver::data
