// SPDX-License-Identifier: Apache-2.0
// How often tasks of unequal sizes are seen, and how much they count, where several train together.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "quiver/data/join.h"

namespace quiver::training {

/// n_t^(1/temperature) / sum, the share of each task in what is seen. temperature 1: by size; the larger, the more
/// equal; infinity: all alike. Tasks without rows have no share. Throws Error{usage} below 1.
std::vector<double> task_shares(std::span<const std::size_t> rows_of_task, double temperature);

/// `count` rows (by number) in which task t has its share to within one row; `tasks` holds each row's task, from 0. The
/// rows of a task are taken in turn, shuffled anew each time round, so that none is seen more than once oftener than
/// another. Shuffled; the same on every machine for one seed.
std::vector<std::size_t> sample_rows(std::span<const std::int64_t> tasks, double temperature, std::size_t count,
                                     std::uint64_t seed);

/// Factors of the rows' losses that give each task the same sum over its target tokens, 1 on average over all target
/// tokens. `rows` and `tasks` go together.
std::vector<double> equal_task_weights(std::span<const data::TokenRow> rows, std::span<const std::int64_t> tasks);

}  // namespace quiver::training
