// SPDX-License-Identifier: Apache-2.0
// The orders that PyTorch and Python give a list under a seed, to the last index: published splits and few-shot samples
// of benchmarks are such orders.
//
// Both draw from MT19937 (Matsumoto and Nishimura, 1998) but seed it and bound its numbers differently. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace quiver::data {

/// `torch.randperm(count, generator=g)` on the CPU after `g.manual_seed(seed)`: at each place i, the item that the next
/// 32-bit number modulo (count - i) names, counted from i, is swapped in. Of the seed the low 32 bits count, as in
/// PyTorch. Throws Error{unsupported} at 2^32 / 20 items, where PyTorch goes over to 64-bit numbers.
std::vector<std::size_t> torch_permutation(std::size_t count, std::uint64_t seed);

/// `random.seed(seed); random.shuffle(list(range(count)))` of CPython 3.2 and later: from the last place down, a swap
/// with one of the places up to it, drawn as bit_length bits until it fits. Throws Error{unsupported} from 2^32 items.
std::vector<std::size_t> python_shuffle(std::size_t count, std::uint64_t seed);

}  // namespace quiver::data
