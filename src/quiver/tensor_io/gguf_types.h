// SPDX-License-Identifier: Apache-2.0
// The tensor types of GGUF that Quiver reads.
//
// A quantised type stores blocks of 32 values (K types and IQ4_XS: 256); a row is a whole number of blocks.
#pragma once

#include <cstdint>
#include <string>

namespace quiver::tensor_io {

/// Numbered as in the file.
enum class GgufType : std::uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  IQ4_NL = 20,
  IQ4_XS = 23,
  BF16 = 30,
};

struct GgufTypeInfo {
  GgufType type;
  const char* name;
  std::uint64_t block_values;  ///< 1: a plain type
  std::uint64_t block_bytes;
};

/// nullptr for a type that is not read.
const GgufTypeInfo* gguf_type_info(std::uint32_t code);

/// "IQ3_S" for 21, and so on, also for types that are not read; "number 99" where the code is not known at all.
std::string gguf_type_name(std::uint32_t code);

/// "F32, F16, ...": what is read, for messages.
std::string gguf_type_names();

}  // namespace quiver::tensor_io
