// SPDX-License-Identifier: Apache-2.0
// Expands quantised GGUF blocks to float32, with the very roundings of the public `gguf` Python package.
//
// One block, little-endian; d, m, dmin are float16; q is an unsigned code, split over the fields named:
//   Q4_0 [18]   d, low[16]                              d * (q - 8)
//   Q4_1 [20]   d, m, low[16]                           d * q + m
//   Q5_0 [22]   d, fifth[4], low[16]                    d * (q - 16)
//   Q5_1 [24]   d, m, fifth[4], low[16]                 d * q + m
//   Q8_0 [34]   d, int8[32]                             d * q
//   Q4_K [144]  d, dmin, scales[12], low[128]           d * scale * q - dmin * minimum, per 32 values
//   Q5_K [176]  d, dmin, scales[12], fifth[32], low[128]        the same
//   Q6_K [210]  low[128], high[64], int8 scale[16], d   d * scale * (q - 32), per 16 values
#pragma once

#include <cstddef>
#include <cstdint>

#include "quiver/tensor_io/gguf_types.h"

namespace quiver::tensor_io {

/// blocks [count blocks] -> out [count * block_values]. `blocks` needs no alignment. Throws Error{unsupported} for a
/// plain type.
void dequantise(const GgufTypeInfo& type, const std::byte* blocks, std::int64_t count, float* out);

}  // namespace quiver::tensor_io
