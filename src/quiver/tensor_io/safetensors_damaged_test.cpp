// SPDX-License-Identifier: Apache-2.0
// Hostile safetensors files: each is refused with an Error of one line, and nothing else happens.
#include <ATen/ops/arange.h>

#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_files.h"

namespace quiver::tensor_io {
namespace {

struct Damaged {
  const char* what;
  std::string header;
  std::size_t data_bytes;
  ErrorCode code;
  const char* message;
};

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{" + tensor("t", dtype, shape, offsets) + "}";
}

std::string two(const std::string& first_offsets, const std::string& second_offsets) {
  return "{" + tensor("t", "U8", "[4]", first_offsets) + "," + tensor("u", "U8", "[4]", second_offsets) + "}";
}

constexpr auto kFormat = ErrorCode::format;
constexpr auto kUnsupported = ErrorCode::unsupported;

const Damaged kHeaders[] = {
    {"no header", "", 0, kFormat, "does not open with '{'"},
    {"space first", " {}", 0, kFormat, "does not open with '{'"},
    {"a list", "[]", 0, kFormat, "does not open with '{'"},
    {"cut JSON", R"({"t":)", 0, kFormat, "not valid JSON"},
    {"two objects", "{}{}", 0, kFormat, "not valid JSON"},
    {"bad UTF-8", "{\"\xFF\":1}", 0, kFormat, "not valid JSON"},
    {"lone surrogate", R"({"\ud800":1})", 0, kFormat, "not valid JSON"},
    {"zero byte", std::string("{\0}", 3), 0, kFormat, "not valid JSON"},
    {"huge number", one("U8", "[1e999]", "[0,1]"), 1, kFormat, "not valid JSON"},
    {"deep", "{\"t\":" + std::string(100000, '['), 0, kFormat, "nested deeper"},
    {"long list",
     one(
         "U8",
         "[1" + std::string(100000, ' ') +
             [] {
               std::string ones;
               for (int i = 0; i < 100000; ++i) ones += ",1";
               return ones;
             }() +
             "]",
         "[0,1]"),
     1, kFormat, "a list has more than"},
    {"tensor twice", "{" + tensor("t", "U8", "[1]", "[0,1]") + "," + tensor("t", "U8", "[1]", "[0,1]") + "}", 1,
     kFormat, "key \"t\" stands twice"},
    {"dtype twice", R"({"t":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1, kFormat,
     "stands twice"},
    {"metadata twice", R"({"__metadata__":{},"__metadata__":{}})", 0, kFormat, "stands twice"},
    {"metadata is text", R"({"__metadata__":"x"})", 0, kFormat, "__metadata__ is \"x\""},
    {"metadata with a number", R"({"__metadata__":{"a":1}})", 0, kFormat, "__metadata__ \"a\" is 1"},
    {"name of two lines", "{" + tensor("a\\nb", "U8", "[1]", "[0,1]") + "}", 1, kFormat, "cannot name a tensor"},
    {"endless name", "{" + tensor(std::string(5000, 'n'), "U8", "[1]", "[0,1]") + "}", 1, kFormat,
     "cannot name a tensor"},
    {"tensor is a number", R"({"t":1})", 0, kFormat, "tensor 't' is 1"},
    {"no dtype", R"({"t":{"shape":[1],"data_offsets":[0,1]}})", 1, kFormat, "expected dtype, shape and data_offsets"},
    {"no shape", R"({"t":{"dtype":"U8","data_offsets":[0,1]}})", 1, kFormat, "expected dtype, shape and data_offsets"},
    {"no offsets", R"({"t":{"dtype":"U8","shape":[1]}})", 1, kFormat, "expected dtype, shape and data_offsets"},
    {"unknown dtype", one("F7", "[1]", "[0,1]"), 1, kUnsupported, "tensor 't' has dtype \"F7\""},
    {"dtype below a byte", one("F4", "[2]", "[0,1]"), 1, kUnsupported, "tensor 't' has dtype \"F4\""},
    {"shape is a number", one("U8", "1", "[0,1]"), 1, kFormat, "tensor 't': shape is 1"},
    {"negative size", one("U8", "[-1]", "[0,1]"), 1, kFormat, "a size of its shape is -1"},
    {"broken size", one("U8", "[1.0]", "[0,1]"), 1, kFormat, "a size of its shape is 1.0"},
    {"size is text", one("U8", "[\"1\"]", "[0,1]"), 1, kFormat, "a size of its shape is \"1\""},
    {"size beyond 64 bits", one("U8", "[18446744073709551616]", "[0,1]"), 1, kFormat, "a size of its shape is"},
    {"product overflows to 0", one("U8", "[4294967296,4294967296]", "[0,0]"), 0, kFormat, "larger than any memory"},
    {"product overflows to 4", one("F32", "[4611686018427387905]", "[0,4]"), 4, kFormat, "larger than any memory"},
    {"overflow behind a zero", one("U8", "[0,4294967296,4294967296]", "[0,0]"), 0, kFormat, "larger than any memory"},
    {"one offset", one("U8", "[1]", "[0]"), 1, kFormat, "expected [begin, end]"},
    {"offsets are text", one("U8", "[1]", "\"01\""), 1, kFormat, "expected [begin, end]"},
    {"negative begin", one("U8", "[1]", "[-1,0]"), 1, kFormat, "its begin is -1"},
    {"end before begin", one("U8", "[1]", "[1,0]"), 1, kFormat, "spans [1, 0)"},
    {"offsets at the limit", one("U8", "[1]", "[18446744073709551614,18446744073709551615]"), 1, kFormat,
     "there is a hole before it"},
    {"too few bytes", one("F32", "[2]", "[0,4]"), 4, kFormat, "spans [0, 4), its dtype and shape need 8 bytes"},
    {"too many bytes", one("F32", "[2]", "[0,12]"), 12, kFormat, "its dtype and shape need 8 bytes"},
    {"beyond the file", one("U8", "[5]", "[0,5]"), 4, kFormat, "the file has 4 bytes of data"},
    {"bytes left over", one("U8", "[3]", "[0,3]"), 4, kFormat, "the tensors take 3 bytes, the file has 4"},
    {"nothing but data", "{}", 1, kFormat, "the tensors take 0 bytes, the file has 1"},
    {"hole at the front", one("U8", "[3]", "[1,4]"), 4, kFormat, "there is a hole before it"},
    {"hole in the middle", two("[0,4]", "[5,9]"), 9, kFormat, "tensor 'u' begins at byte 5 of the data, expected 4"},
    {"overlap", two("[0,4]", "[3,7]"), 7, kFormat, "overlaps another"},
    {"the same bytes twice", two("[0,4]", "[0,4]"), 4, kFormat, "overlaps another"},
    {"empty tensor out of place",
     "{" + tensor("t", "U8", "[4]", "[0,4]") + "," + tensor("u", "U8", "[0]", "[2,2]") + "}", 4, kFormat,
     "overlaps another"},
};

TEST(SafetensorsDamaged, HeadersAreRefused) {
  const TestFolder folder;
  for (const auto& damaged : kHeaders) {
    SCOPED_TRACE(damaged.what);
    const auto bytes =
        bytes_of<std::uint64_t>(damaged.header.size()) + damaged.header + std::string(damaged.data_bytes, 'd');
    const auto path = folder.file("a", bytes);
    expect_error(damaged.code, damaged.message, [&] { open_safetensors(path); });
  }
}

TEST(SafetensorsDamaged, HeaderLengthsAreRefused) {
  const TestFolder folder;
  const auto with_length = [&](std::uint64_t length) { return folder.file("a", bytes_of(length) + "{}      "); };
  expect_error(kFormat, "too short", [&] { open_safetensors(folder.file("a", "")); });
  expect_error(kFormat, "too short", [&] { open_safetensors(folder.file("a", "1234567")); });
  expect_error(kFormat, "claims 9 bytes, the file has 8", [&] { open_safetensors(with_length(9)); });
  expect_error(kFormat, "the limit is 100000000", [&] { open_safetensors(with_length(100'000'001)); });
  expect_error(kFormat, "the limit is 100000000", [&] { open_safetensors(with_length(~std::uint64_t{0})); });
  expect_error(kFormat, "the limit is 100000000", [&] { open_safetensors(with_length(~std::uint64_t{7})); });
  EXPECT_TRUE(open_safetensors(with_length(8))->tensors().empty());
}

/// A small sound file.
std::string sound(const TestFolder& folder) {
  write_safetensors(folder / "sound", {{"a", at::arange(3, at::kFloat)}, {"b", at::arange(4, at::kByte)}});
  return read_file(folder / "sound");
}

TEST(SafetensorsDamaged, EveryTruncationIsRefused) {
  const TestFolder folder;
  const auto bytes = sound(folder);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const auto path = folder.file("a", bytes.substr(0, length));
    EXPECT_EQ(error_of([&] { open_safetensors(path); }).code(), kFormat) << length;
  }
  const auto longer = folder.file("a", bytes + "x");
  expect_error(kFormat, "the tensors take", [&] { open_safetensors(longer); });
}

/// Opens and loads all, or throws an Error; anything else fails the test.
TEST(SafetensorsDamaged, FlippedBitsAreRefusedOrHarmless) {
  const TestFolder folder;
  const auto bytes = sound(folder);
  int refused = 0;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = bytes;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    const auto path = folder.file("a", damaged);
    try {
      const auto source = open_safetensors(path);
      for (const auto& [name, info] : source->tensors()) EXPECT_EQ(source->load(name).nbytes(), info.bytes);
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace quiver::tensor_io
