// SPDX-License-Identifier: Apache-2.0
// Batching: the order in which the rows of a data set are visited in one epoch.
//
// The order is a pure function of (lengths, options, epoch), the same on every machine, so a run resumes at batch b of
// epoch e by computing the epoch again and skipping b batches. Every row stands in exactly one batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace quiver::data {

struct BatchOptions {
  /// Rows in a batch, 1 or more; the last batch of an epoch may hold fewer.
  std::size_t batch_rows = 16;
  /// Windows of this many batches of shuffled rows are sorted by length before they are cut into batches, and the
  /// batches of a window are shuffled again: rows of like length share a batch, and less is spent on padding. 0 or 1:
  /// off, every batch is a plain sample. Larger windows pad less and mix less. 4 batches of 16 rows are windows of 64.
  std::size_t length_window_batches = 4;
  /// false: the rows' own order, without windows (for scoring).
  bool shuffle = true;
  std::uint64_t seed = 0;
};

/// Row indices of each batch of an epoch. `lengths` holds a row's tokens, one per row, or nothing (then no windows).
std::vector<std::vector<std::size_t>> epoch_batches(std::size_t n_rows, std::span<const std::size_t> lengths,
                                                    const BatchOptions& options, std::uint64_t epoch);

/// Tokens that a padded epoch computes per token of its rows, >= 1: what the windows are for.
double padding_factor(const std::vector<std::vector<std::size_t>>& batches, std::span<const std::size_t> lengths);

}  // namespace quiver::data
