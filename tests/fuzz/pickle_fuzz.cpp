// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry point: any bytes are a pickle of plain values and tensors within their storages, or an Error, never
// anything else; and so are they as an archive of torch.save.
#include <ATen/ops/zeros.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "quiver/base/error.h"
#include "quiver/tensor_io/torch_archive.h"

namespace {

using quiver::tensor_io::PickleValue;

/// Reads every element, so that one outside of its storage is found.
void touch(const PickleValue& value) {
  if (value.tensor.defined()) value.tensor.clone();
  for (const auto* item : value.items) touch(*item);
}

at::Tensor storage(const std::string&, at::ScalarType dtype, std::int64_t elements) {
  QUIVER_CHECK(elements <= 1000, format, "fuzz", "{} elements", elements);
  return at::zeros({elements}, dtype);
}

void read_pickle(std::span<const std::byte> bytes) {
  const auto pickle = quiver::tensor_io::parse_pickle(bytes, storage, "fuzz");
  touch(*pickle.root);
  quiver::tensor_io::pickle_to_json(*pickle.root);
}

/// A file in memory, which can be mapped as one on disk can.
void read_archive(std::span<const std::byte> bytes) {
  const int descriptor = memfd_create("fuzz", 0);
  if (write(descriptor, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) __builtin_trap();
  const auto path = "/proc/self/fd/" + std::to_string(descriptor);
  try {
    touch(*quiver::tensor_io::read_torch_archive(path).root);
  } catch (const quiver::Error&) {
  }
  close(descriptor);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    read_pickle(bytes);
  } catch (const quiver::Error&) {
  }
  read_archive(bytes);
  return 0;
}
