// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/mapped_file.h"

#include <sys/stat.h>

#include "quiver/tensor_io/test_files.h"

namespace quiver::tensor_io {
namespace {

TEST(MappedFile, HoldsTheBytesAlsoWhenTheFileIsGone) {
  const TestFolder folder;
  const auto path = folder.file("a", "hello");
  const auto file = MappedFile::open(path);
  fs::remove(path);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()), "hello");
}

TEST(MappedFile, MayBeEmpty) {
  const TestFolder folder;
  EXPECT_TRUE(MappedFile::open(folder.file("a", ""))->bytes().empty());
}

TEST(MappedFile, OnlyRegularFiles) {
  const TestFolder folder;
  expect_error(ErrorCode::not_found, "no such file", [&] { MappedFile::open(folder / "none"); });
  expect_error(ErrorCode::not_found, "no such file", [&] { MappedFile::open(folder.file("a", "x") / "b"); });
  expect_error(ErrorCode::io, "a folder", [&] { MappedFile::open(folder.path()); });
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error(ErrorCode::io, "a pipe or a device", [&] { MappedFile::open(folder / "pipe"); });
}

}  // namespace
}  // namespace quiver::tensor_io
