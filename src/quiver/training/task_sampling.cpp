// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/task_sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/training/row_loss.h"

namespace quiver::training {
namespace {

std::vector<std::vector<std::size_t>> rows_by_task(std::span<const std::int64_t> tasks) {
  std::vector<std::vector<std::size_t>> out;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const auto task = static_cast<std::size_t>(tasks[i]);
    if (task >= out.size()) out.resize(task + 1);
    out[task].push_back(i);
  }
  return out;
}

/// Whole numbers that sum to `count`: the integer parts, then one more for the largest remainders.
std::vector<std::size_t> quotas(const std::vector<double>& shares, std::size_t count) {
  std::vector<std::size_t> out, order(shares.size());
  std::vector<double> remainder;
  for (const auto share : shares) {
    const double exact = share * static_cast<double>(count);
    out.push_back(static_cast<std::size_t>(exact));
    remainder.push_back(exact - std::floor(exact));
  }
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return remainder[a] > remainder[b]; });
  auto left = count - std::accumulate(out.begin(), out.end(), std::size_t{0});
  for (std::size_t i = 0; left > 0; i = (i + 1) % order.size()) {
    if (shares[order[i]] <= 0) continue;
    ++out[order[i]];
    --left;
  }
  return out;
}

}  // namespace

std::vector<double> task_shares(std::span<const std::size_t> rows_of_task, double temperature) {
  QUIVER_CHECK(temperature >= 1, usage, "task sampling", "temperature {}, expected 1 or more", temperature);
  std::vector<double> shares;
  for (const auto n : rows_of_task) shares.push_back(n ? std::pow(static_cast<double>(n), 1.0 / temperature) : 0.0);
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (auto& share : shares) share = sum > 0 ? share / sum : 0.0;
  return shares;
}

std::vector<std::size_t> sample_rows(std::span<const std::int64_t> tasks, double temperature, std::size_t count,
                                     std::uint64_t seed) {
  QUIVER_CHECK(!tasks.empty(), usage, "task sampling", "there are no rows to sample from");
  auto by_task = rows_by_task(tasks);
  std::vector<std::size_t> sizes, out;
  for (const auto& rows : by_task) sizes.push_back(rows.size());
  const auto quota = quotas(task_shares(sizes, temperature), count);
  for (std::size_t t = 0; t < by_task.size(); ++t) {
    Random random(derive_seed(seed, t + 1));
    for (std::size_t i = 0; i < quota[t]; ++i) {
      if (i % sizes[t] == 0) random.shuffle(by_task[t]);
      out.push_back(by_task[t][i % sizes[t]]);
    }
  }
  Random(derive_seed(seed, 0)).shuffle(out);
  return out;
}

std::vector<double> equal_task_weights(std::span<const data::TokenRow> rows, std::span<const std::int64_t> tasks) {
  std::map<std::int64_t, double> tokens;
  double all = 0.0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto own = static_cast<double>(target_tokens(rows[i]));
    tokens[tasks[i]] += own;
    all += own;
  }
  std::vector<double> out;
  for (const auto task : tasks) out.push_back(all / (static_cast<double>(tokens.size()) * tokens[task]));
  return out;
}

}  // namespace quiver::training
