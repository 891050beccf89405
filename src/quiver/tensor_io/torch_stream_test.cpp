// SPDX-License-Identifier: Apache-2.0
// Files of torch.save's older format: one that torch wrote, and damaged ones.
#include "quiver/tensor_io/torch_stream.h"

#include "quiver/tensor_io/test_files.h"
#include "quiver/tensor_io/torch_archive.h"

namespace quiver::tensor_io {
namespace {

std::string whole() { return read_file(golden("foreign/stream/adapter_model.bin")); }

TEST(TorchStream, ATensorOfEachKeyIsRead) {
  const auto file = open_torch_tensors(golden("foreign/stream/adapter_model.bin"));
  EXPECT_EQ(file->tensors().size(), 28u);
  for (const auto& [name, info] : file->tensors()) EXPECT_EQ(info.stored_dtype, "F32") << name;
}

TEST(TorchStream, CutAnywhereItIsAnError) {
  const TestFolder folder;
  const auto bytes = whole();
  for (std::size_t size = 0; size < bytes.size(); size += 1 + size / 64) {
    error_of([&] { open_torch_tensors(folder.file("cut", bytes.substr(0, size))); });
  }
  error_of([&] { open_torch_tensors(folder.file("more", bytes + "x")); });
}

TEST(TorchStream, AChangedByteIsAnErrorOrReadAsTensors) {
  const TestFolder folder;
  const auto bytes = whole();
  for (std::size_t at = 0; at < bytes.size(); at += 7) {
    auto changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 0x55);
    try {
      open_torch_tensors(folder.file("changed", changed));
    } catch (const Error&) {  // nothing else may come out
    }
  }
}

TEST(TorchStream, AStorageLargerThanTheFileIsRefused) {
  const TestFolder folder;
  auto bytes = whole();
  const auto at = bytes.find("cpu");
  ASSERT_NE(at, std::string::npos);
  const auto count = bytes.find('K', at);  // BININT1, the number of elements of the first storage
  ASSERT_LT(count - at, 16u);
  bytes.replace(count, 2, "\x8a\x07" + std::string("\xff\xff\xff\xff\xff\xff\x7f"));
  expect_error(ErrorCode::format, "larger than the file", [&] { open_torch_tensors(folder.file("large", bytes)); });
}

}  // namespace
}  // namespace quiver::tensor_io
