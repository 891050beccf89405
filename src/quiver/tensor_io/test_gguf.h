// SPDX-License-Identifier: Apache-2.0
// GGUF files made byte by byte, for tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quiver/tensor_io/test_files.h"

namespace quiver::tensor_io::test_gguf {

using U32 = std::uint32_t;
using U64 = std::uint64_t;
constexpr U32 kU8 = 0, kU32 = 4, kReal = 6, kBool = 7, kText = 8, kList = 9, kU64 = 10;
constexpr U32 kF32 = 0, kIq3S = 21, kQ4_0 = 2, kQ6_K = 14;

inline std::string text(const std::string& value) { return bytes_of<U64>(value.size()) + value; }
inline std::string entry(const std::string& key, U32 type, const std::string& value) {
  return text(key) + bytes_of(type) + value;
}
inline std::string tensor(const std::string& name, const std::vector<U64>& extents, U32 type, U64 offset) {
  auto out = text(name) + bytes_of<U32>(static_cast<U32>(extents.size()));
  for (const auto extent : extents) out += bytes_of(extent);
  return out + bytes_of(type) + bytes_of(offset);
}

struct Parts {
  std::vector<std::string> entries = {}, tensors = {};
  std::size_t data_bytes = 0;
  U32 version = 3;
  std::size_t alignment = 32;
};

inline std::string file_bytes(const Parts& parts) {
  auto out =
      "GGUF" + bytes_of(parts.version) + bytes_of<U64>(parts.tensors.size()) + bytes_of<U64>(parts.entries.size());
  for (const auto& one : parts.entries) out += one;
  for (const auto& one : parts.tensors) out += one;
  out.resize((out.size() + parts.alignment - 1) / parts.alignment * parts.alignment);
  return out + std::string(parts.data_bytes, '\1');
}

inline std::string whole_entry(const std::string& key, U32 value) { return entry(key, kU32, bytes_of(value)); }
inline std::string text_entry(const std::string& key, const std::string& value) {
  return entry(key, kText, text(value));
}
inline std::string real_entry(const std::string& key, float value) { return entry(key, kReal, bytes_of(value)); }

}  // namespace quiver::tensor_io::test_gguf
