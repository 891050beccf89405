// SPDX-License-Identifier: Apache-2.0
// Models that llama.cpp split into parts.
#include <ATen/core/Tensor.h>

#include "quiver/tensor_io/gguf.h"
#include "quiver/tensor_io/test_files.h"
#include "quiver/tensor_io/test_gguf.h"

namespace quiver::tensor_io {
namespace {

using namespace test_gguf;

class GgufSplit : public testing::Test {
 protected:
  void SetUp() override {
    write(0, "a", {text_entry("general.name", "whole"), whole_entry("split.tensors.count", 3)});
    write(1, "b", {});
    write(2, "c", {});
  }
  fs::path write(U32 number, const std::string& tensor_name, std::vector<std::string> entries, U32 count = 3) {
    entries.push_back(whole_entry("split.no", number));
    entries.push_back(whole_entry("split.count", count));
    return folder_.file(
        "m-0000" + std::to_string(number + 1) + "-of-00003.gguf",
        file_bytes({.entries = entries, .tensors = {tensor(tensor_name, {2}, kF32, 0)}, .data_bytes = 8}));
  }
  void expect_refused(ErrorCode code, const std::string& part, const std::string& name = "m-00001-of-00003.gguf") {
    expect_error(code, part, [&] { GgufFile::open(folder_ / name); });
  }

  TestFolder folder_;
};

TEST_F(GgufSplit, PartsAreOneFile) {
  const auto file = GgufFile::open(folder_ / "m-00001-of-00003.gguf");
  EXPECT_EQ(file->tensors().size(), 3u);
  EXPECT_EQ(file->text("general.name"), "whole");
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_EQ(file->load(name).const_data_ptr(), file->stored_bytes(name)) << name;
    EXPECT_EQ(file->load(name).numel(), 2) << name;
  }
}

TEST_F(GgufSplit, AnyOtherPartIsRefused) {
  expect_refused(ErrorCode::unsupported, "part 2 of a model split in 3, expected its first part, *-00001-of-00003.gguf",
                 "m-00002-of-00003.gguf");
  fs::rename(folder_ / "m-00001-of-00003.gguf", folder_ / "other.gguf");
  expect_refused(ErrorCode::unsupported, "the first part of a model split in 3", "other.gguf");
}

TEST_F(GgufSplit, PartsThatDoNotFitAreRefused) {
  write(2, "b", {});
  expect_refused(ErrorCode::format, "tensor 'b' is in another part too");
  write(2, "c", {}, 4);
  expect_refused(ErrorCode::format, "not part 3 of a model split in 3");
  fs::remove(folder_ / "m-00003-of-00003.gguf");
  expect_refused(ErrorCode::not_found, "m-00003-of-00003.gguf is missing");
  write(2, "c", {});
  write(0, "a", {whole_entry("split.tensors.count", 4)});
  expect_refused(ErrorCode::format, "its parts hold 3 tensors, expected 4");
  write(0, "a", {}, 100'000);
  expect_refused(ErrorCode::format, "expected at most");
}

TEST_F(GgufSplit, FilesAreKnownByTheirMagic) {
  EXPECT_TRUE(is_gguf(folder_ / "m-00001-of-00003.gguf"));
  EXPECT_TRUE(is_gguf(folder_.file("blob", "GGUF")));
  EXPECT_FALSE(is_gguf(folder_.file("m.gguf", "GGU")));
  EXPECT_FALSE(is_gguf(folder_.path()));
  EXPECT_FALSE(is_gguf(folder_ / "none"));
}

}  // namespace
}  // namespace quiver::tensor_io
