// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry point: any bytes are a sound safetensors header or an Error, never anything else.
#include <cstddef>
#include <cstdint>
#include <span>

#include "quiver/base/error.h"
#include "quiver/tensor_io/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span file(reinterpret_cast<const std::byte*>(data), size);
  try {
    const auto header = quiver::tensor_io::parse_safetensors_header(file, "fuzz");
    for (const auto& [name, entry] : header.entries) {
      if (entry.begin > size || entry.info.bytes > size - entry.begin) __builtin_trap();
    }
  } catch (const quiver::Error&) {
  }
  return 0;
}
