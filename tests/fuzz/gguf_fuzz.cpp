// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry point: any bytes are a GGUF file whose tensors load, or an Error, never anything else.
#include <ATen/core/Tensor.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "quiver/base/error.h"
#include "quiver/tensor_io/gguf.h"

namespace {

/// A file in memory, which can be mapped as one on disk can.
class MemoryFile {
 public:
  MemoryFile(const void* data, std::size_t size) : descriptor_(memfd_create("fuzz", 0)) {
    if (write(descriptor_, data, size) != static_cast<ssize_t>(size)) __builtin_trap();
  }
  ~MemoryFile() { close(descriptor_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const MemoryFile memory(data, size);
  try {
    const auto file = quiver::tensor_io::GgufFile::open(memory.path());
    for (const auto& [name, info] : file->tensors()) file->load(name);
  } catch (const quiver::Error&) {
  }
  return 0;
}
