// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/batching.h"

#include <algorithm>
#include <numeric>

#include "quiver/base/error.h"
#include "quiver/base/random.h"

namespace quiver::data {
namespace {

using Batches = std::vector<std::vector<std::size_t>>;

Batches cut_into_batches(std::span<const std::size_t> rows, std::size_t batch_rows) {
  Batches batches;
  for (std::size_t begin = 0; begin < rows.size(); begin += batch_rows) {
    const auto part = rows.subspan(begin, std::min(batch_rows, rows.size() - begin));
    batches.emplace_back(part.begin(), part.end());
  }
  return batches;
}

}  // namespace

Batches epoch_batches(std::size_t n_rows, std::span<const std::size_t> lengths, const BatchOptions& options,
                      std::uint64_t epoch) {
  QUIVER_CHECK(options.batch_rows > 0, usage, "batching", "expected batches of 1 row or more, came 0");
  QUIVER_CHECK(lengths.empty() || lengths.size() == n_rows, mismatch, "batching", "expected {} lengths, came {}",
               n_rows, lengths.size());
  std::vector<std::size_t> rows(n_rows);
  std::iota(rows.begin(), rows.end(), std::size_t{0});
  if (!options.shuffle) return cut_into_batches(rows, options.batch_rows);

  Random random(derive_seed(options.seed, epoch));
  random.shuffle(rows);
  if (lengths.empty() || options.length_window_batches < 2) return cut_into_batches(rows, options.batch_rows);

  Batches batches;
  // A window as large as the data set is the most that can be meant; the minimum also keeps the product in range.
  const auto window_batches = std::min(options.length_window_batches, n_rows / options.batch_rows + 1);
  const auto window_rows = window_batches * options.batch_rows;
  for (std::size_t begin = 0; begin < n_rows; begin += window_rows) {
    const auto window = std::span(rows).subspan(begin, std::min(window_rows, n_rows - begin));
    std::stable_sort(window.begin(), window.end(), [&](auto a, auto b) { return lengths[a] < lengths[b]; });
    auto cut = cut_into_batches(window, options.batch_rows);
    random.shuffle(cut);
    std::move(cut.begin(), cut.end(), std::back_inserter(batches));
  }
  return batches;
}

double padding_factor(const Batches& batches, std::span<const std::size_t> lengths) {
  std::size_t padded = 0, real = 0;
  for (const auto& batch : batches) {
    std::size_t longest = 0;
    for (const auto row : batch) {
      longest = std::max(longest, lengths[row]);
      real += lengths[row];
    }
    padded += longest * batch.size();
  }
  return real == 0 ? 1.0 : static_cast<double>(padded) / static_cast<double>(real);
}

}  // namespace quiver::data
