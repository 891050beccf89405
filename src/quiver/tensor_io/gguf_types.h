// SPDX-License-Identifier: Apache-2.0
// The tensor types of GGUF that Quiver reads, and their expansion to float32.
//
// Quantised types store blocks of 32 values (K types: 256) with float16 scales; layouts as in ggml's quantisation
// formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace quiver::tensor_io {

enum class GgufType : std::uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  BF16 = 30,
};

struct GgufTypeInfo {
  GgufType type;
  const char* name;
  std::int64_t block_values;  ///< 1: a plain type
  std::int64_t block_bytes;
};

/// nullptr for a type that is not read.
const GgufTypeInfo* gguf_type_info(std::uint32_t code);

/// blocks [count blocks] -> out [count * block_values]. `type` is quantised. `blocks` needs no alignment.
void dequantise(GgufType type, const std::byte* blocks, std::int64_t count, float* out);

}  // namespace quiver::tensor_io
