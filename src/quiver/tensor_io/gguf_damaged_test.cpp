// SPDX-License-Identifier: Apache-2.0
// Hostile GGUF files: each is refused with an Error of one line, and nothing else happens.
#include <ATen/core/Tensor.h>

#include "quiver/tensor_io/gguf.h"
#include "quiver/tensor_io/test_files.h"
#include "quiver/tensor_io/test_gguf.h"

namespace quiver::tensor_io {
namespace {

using namespace test_gguf;
constexpr U64 kHuge = ~U64{0};
constexpr auto kFormat = ErrorCode::format;
constexpr auto kUnsupported = ErrorCode::unsupported;

struct Damaged {
  const char* what;
  Parts parts;
  ErrorCode code;
  const char* message;
};

const Damaged kFiles[] = {
    {"version 1", {.version = 1}, kUnsupported, "GGUF version 1"},
    {"version 4", {.version = 4}, kUnsupported, "GGUF version 4"},
    {"big-endian", {.version = 3u << 24}, kUnsupported, "big-endian"},
    {"key twice", {.entries = {entry("k", kU8, "1"), entry("k", kU8, "2")}}, kFormat, "metadata 'k' stands twice"},
    {"unknown value type", {.entries = {entry("k", 13, "12345678")}}, kFormat, "metadata 'k' has value type 13"},
    {"key of two lines", {.entries = {entry("a\nb", kU8, "1")}}, kFormat, "not one line of UTF-8"},
    {"key of bad UTF-8", {.entries = {entry("\xC3", kU8, "1")}}, kFormat, "not one line of UTF-8"},
    {"endless key", {.entries = {bytes_of(kHuge) + "12345678"}}, kFormat, "a metadata key"},
    {"endless text", {.entries = {entry("k", kText, bytes_of(kHuge) + "abc")}}, kFormat, "do not fit"},
    {"u64 above int64",
     {.entries = {entry("k", kU64, bytes_of(kHuge))}},
     kUnsupported,
     "metadata 'k' is 18446744073709551615"},
    {"list of lists",
     {.entries = {entry("k", kList, bytes_of(kList) + bytes_of<U64>(0))}},
     kUnsupported,
     "metadata 'k' is a list of value type 9"},
    {"list of an unknown type",
     {.entries = {entry("k", kList, bytes_of<U32>(99) + bytes_of<U64>(0))}},
     kUnsupported,
     "a list of value type 99"},
    {"endless list of bytes", {.entries = {entry("k", kList, bytes_of(kU8) + bytes_of(kHuge))}}, kFormat, "do not fit"},
    {"endless list of texts",
     {.entries = {entry("k", kList, bytes_of(kText) + bytes_of(U64{1} << 61))}},
     kFormat,
     "do not fit"},
    {"u64 above int64 in a list",
     {.entries = {entry("k", kList, bytes_of(kU64) + bytes_of<U64>(1) + bytes_of(kHuge))}},
     kUnsupported,
     "metadata 'k' is 18446744073709551615"},
    {"alignment 0",
     {.entries = {entry("general.alignment", kU32, bytes_of<U32>(0))}},
     kFormat,
     "general.alignment is 0"},
    {"alignment 24",
     {.entries = {entry("general.alignment", kU32, bytes_of<U32>(24))}},
     kFormat,
     "general.alignment is 24"},
    {"alignment 2^31",
     {.entries = {entry("general.alignment", kU32, bytes_of(U32{1} << 31))}},
     kFormat,
     "general.alignment is 2147483648"},
    {"alignment is text",
     {.entries = {entry("general.alignment", kText, text("32"))}},
     kFormat,
     "'general.alignment' is not a whole number"},
    {"tensor twice",
     {.tensors = {tensor("t", {1}, kF32, 0), tensor("t", {1}, kF32, 32)}, .data_bytes = 64},
     kFormat,
     "tensor 't' stands twice"},
    {"tensor's name of two lines",
     {.tensors = {tensor("a\rb", {1}, kF32, 0)}, .data_bytes = 4},
     kFormat,
     "not one line of UTF-8"},
    {"9 dimensions",
     {.tensors = {tensor("t", {1, 1, 1, 1, 1, 1, 1, 1, 1}, kF32, 0)}, .data_bytes = 4},
     kFormat,
     "tensor 't' has 9 dimensions"},
    {"extent 2^64 - 1",
     {.tensors = {tensor("t", {kHuge}, kF32, 0)}, .data_bytes = 4},
     kFormat,
     "larger than any memory"},
    {"product overflows to 0",
     {.tensors = {tensor("t", {U64{1} << 32, U64{1} << 32}, kF32, 0)}},
     kFormat,
     "larger than any memory"},
    {"overflow behind a zero",
     {.tensors = {tensor("t", {0, U64{1} << 32, U64{1} << 32}, kF32, 0)}},
     kFormat,
     "larger than any memory"},
    {"a type that is not read",
     {.tensors = {tensor("blk.0.w", {256}, kIq3S, 0)}, .data_bytes = 110},
     kUnsupported,
     "tensor 'blk.0.w' has type IQ3_S"},
    {"an unknown type",
     {.tensors = {tensor("t", {1}, 99, 0)}, .data_bytes = 4},
     kUnsupported,
     "tensor 't' has type number 99"},
    {"part of a block",
     {.tensors = {tensor("t", {33}, kQ4_0, 0)}, .data_bytes = 100},
     kFormat,
     "rows of 33 values, type Q4_0 needs a multiple of 32"},
    {"blocks across rows",
     {.tensors = {tensor("t", {128, 2}, kQ6_K, 0)}, .data_bytes = 210},
     kFormat,
     "rows of 128 values"},
    {"quantised scalar", {.tensors = {tensor("t", {}, kQ4_0, 0)}, .data_bytes = 32}, kFormat, "rows of 1 values"},
    {"offset beyond the file",
     {.tensors = {tensor("t", {1}, kF32, 64)}, .data_bytes = 64},
     kFormat,
     "tensor 't' spans [64, +4), the file has 64 bytes"},
    {"offset near 2^64",
     {.tensors = {tensor("t", {8}, kF32, kHuge - 31)}, .data_bytes = 64},
     kFormat,
     "tensor 't' spans"},
    {"end beyond the file",
     {.tensors = {tensor("t", {17}, kF32, 0)}, .data_bytes = 64},
     kFormat,
     "tensor 't' spans [0, +68)"},
    {"unaligned offset",
     {.tensors = {tensor("t", {1}, kF32, 4)}, .data_bytes = 64},
     kFormat,
     "tensor 't' begins at 4, expected a multiple of 32"},
    {"overlap",
     {.tensors = {tensor("t", {16}, kF32, 0), tensor("u", {8}, kF32, 32)}, .data_bytes = 64},
     kFormat,
     "tensors 't' and 'u' overlap"},
    {"the same bytes twice",
     {.tensors = {tensor("t", {8}, kF32, 0), tensor("u", {8}, kF32, 0)}, .data_bytes = 64},
     kFormat,
     "tensors 't' and 'u' overlap"},
};

TEST(GgufDamaged, FilesAreRefused) {
  const TestFolder folder;
  for (const auto& damaged : kFiles) {
    SCOPED_TRACE(damaged.what);
    const auto path = folder.file("a", file_bytes(damaged.parts));
    expect_error(damaged.code, damaged.message, [&] { GgufFile::open(path); });
  }
}

TEST(GgufDamaged, AbsurdCountsAreRefusedBeforeMemoryIsSetAside) {
  const TestFolder folder;
  const auto with_counts = [&](U64 tensors, U64 entries) {
    return folder.file("a", "GGUF" + bytes_of<U32>(3) + bytes_of(tensors) + bytes_of(entries) + std::string(64, '\0'));
  };
  for (const U64 count : {kHuge, U64{1} << 63, U64{1} << 40, U64{6}}) {
    expect_error(kFormat, "tensors: ", [&] { GgufFile::open(with_counts(count, 0)); });
    expect_error(kFormat, "metadata entries: ", [&] { GgufFile::open(with_counts(0, count)); });
  }
}

TEST(GgufDamaged, OtherFilesAreNotGguf) {
  const TestFolder folder;
  expect_error(kFormat, "does not open with 'GGUF'", [&] { GgufFile::open(folder.file("a", "ggml, of old")); });
  expect_error(kFormat, "the file ends at byte 0", [&] { GgufFile::open(folder.file("a", "")); });
  expect_error(ErrorCode::not_found, "no such file", [&] { GgufFile::open(folder / "none"); });
}

TEST(GgufDamaged, WhatIsUnusualButSoundIsRead) {
  const TestFolder folder;
  const auto path =
      folder.file("a", file_bytes({.entries = {entry("general.alignment", kU32, bytes_of<U32>(8))},
                                   .tensors = {tensor("empty", {0, 3}, kF32, 0), tensor("scalar", {}, kF32, 0),
                                               tensor("second", {3}, kF32, 8)},
                                   .data_bytes = 20,
                                   .version = 2,
                                   .alignment = 8}));
  const auto file = GgufFile::open(path);
  EXPECT_EQ(file->load("empty").sizes(), (std::vector<std::int64_t>{3, 0}));
  EXPECT_EQ(file->load("scalar").dim(), 0);
  EXPECT_EQ(file->load("second").numel(), 3);
  EXPECT_TRUE(GgufFile::open(folder.file("b", file_bytes({})))->tensors().empty());
}

/// Metadata of several kinds and two tensors that fill the data.
std::string sound() {
  return file_bytes({.entries = {entry("name", kText, text("abc")), entry("size", kU32, bytes_of<U32>(7)),
                                 entry("list", kList, bytes_of(kText) + bytes_of<U64>(2) + text("x") + text("yz"))},
                     .tensors = {tensor("a", {8, 2}, kF32, 0), tensor("b", {32}, kQ4_0, 64)},
                     .data_bytes = 82});
}

TEST(GgufDamaged, EveryTruncationIsRefused) {
  const TestFolder folder;
  const auto bytes = sound();
  EXPECT_EQ(GgufFile::open(folder.file("a", bytes))->tensors().size(), 2u);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto path = folder.file("a", bytes.substr(0, length));
    EXPECT_EQ(error_of([&] { GgufFile::open(path); }).code(), kFormat) << length;
  }
}

/// Opens and loads all, or throws an Error; anything else fails the test.
TEST(GgufDamaged, FlippedBitsAreRefusedOrHarmless) {
  const TestFolder folder;
  const auto bytes = sound();
  int refused = 0;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    const auto path = folder.file("a", damaged);
    try {
      const auto file = GgufFile::open(path);
      for (const auto& [name, info] : file->tensors()) EXPECT_EQ(file->load(name).sizes(), info.shape);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace quiver::tensor_io
