// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/safetensors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>

#include <cstring>

#include "quiver/tensor_io/test_files.h"

namespace quiver::tensor_io {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

/// u64 length | header | data.
std::string file_bytes(const std::string& header, const std::string& data) {
  return bytes_of<std::uint64_t>(header.size()) + header + data;
}

constexpr at::ScalarType kDtypes[] = {at::kDouble, at::kFloat,         at::kHalf,        at::kBFloat16,
                                      at::kLong,   at::kInt,           at::kShort,       at::kChar,
                                      at::kByte,   at::kBool,          at::kUInt16,      at::kUInt32,
                                      at::kUInt64, at::kFloat8_e4m3fn, at::kFloat8_e5m2, at::kComplexFloat};

TEST(Safetensors, EveryTypeComesBack) {
  const TestFolder folder;
  Tensors tensors;
  for (const auto dtype : kDtypes) tensors[c10::toString(dtype)] = at::arange(6, at::kFloat).reshape({2, 3}).to(dtype);
  write_safetensors(folder / "a", tensors);
  const auto source = open_safetensors(folder / "a");
  ASSERT_EQ(source->tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const auto loaded = source->load(name);
    EXPECT_EQ(loaded.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_EQ(loaded.sizes(), tensor.sizes()) << name;
    EXPECT_EQ(std::memcmp(loaded.const_data_ptr(), tensor.const_data_ptr(), tensor.nbytes()), 0) << name;
    EXPECT_EQ(std::memcmp(source->stored_bytes(name), tensor.const_data_ptr(), tensor.nbytes()), 0) << name;
    EXPECT_EQ(source->tensors().at(name).bytes, tensor.nbytes()) << name;
  }
}

TEST(Safetensors, ScalarsEmptyTensorsAndViewsComeBack) {
  const TestFolder folder;
  const auto grid = at::arange(12, at::kFloat).reshape({3, 4});
  write_safetensors(folder / "a", {{"scalar", at::full({}, 7.0, at::kFloat)},
                                   {"empty", at::empty({0, 4}, at::kHalf)},
                                   {"transposed", grid.t()},
                                   {"column", grid.select(1, 2)},
                                   {"", grid}});
  const auto source = open_safetensors(folder / "a");
  EXPECT_EQ(source->load("scalar").dim(), 0);
  EXPECT_EQ(source->load("scalar").item<float>(), 7.0f);
  EXPECT_EQ(source->load("empty").sizes(), (std::vector<std::int64_t>{0, 4}));
  EXPECT_TRUE(at::equal(source->load("transposed"), grid.t()));
  EXPECT_TRUE(at::equal(source->load("column"), grid.select(1, 2)));
  EXPECT_TRUE(at::equal(source->load(""), grid));
}

TEST(Safetensors, NoTensorsAtAll) {
  const TestFolder folder;
  write_safetensors(folder / "a", {}, {});
  EXPECT_TRUE(open_safetensors(folder / "a")->tensors().empty());
  EXPECT_TRUE(safetensors_metadata(folder / "a").empty());
}

TEST(Safetensors, WritesTheBytesOfTheReferenceWriter) {
  const TestFolder folder;
  const auto reference = golden("gguf_blocks.safetensors");
  const auto source = open_safetensors(reference);
  Tensors tensors;
  for (const auto& [name, info] : source->tensors()) tensors[name] = source->load(name);
  write_safetensors(folder / "a", tensors, safetensors_metadata(reference));
  EXPECT_EQ(read_file(folder / "a"), read_file(reference));
}

TEST(Safetensors, WidestTypesComeFirstThenNames) {
  const TestFolder folder;
  write_safetensors(folder / "a", {{"a", at::empty({3}, at::kByte)},
                                   {"c", at::empty({1}, at::kFloat)},
                                   {"b", at::empty({1}, at::kFloat)},
                                   {"d", at::empty({1}, at::kLong)}});
  const auto source = open_safetensors(folder / "a");
  const auto at = [&](const char* name) { return static_cast<const std::byte*>(source->stored_bytes(name)); };
  EXPECT_EQ(at("b") - at("d"), 8);
  EXPECT_EQ(at("c") - at("b"), 4);
  EXPECT_EQ(at("a") - at("c"), 4);
}

TEST(Safetensors, AlignedTensorsAreViewsAndOutliveTheirSource) {
  const TestFolder folder;
  write_safetensors(folder / "a", {{"x", at::arange(4, at::kFloat)}});
  auto source = open_safetensors(folder / "a");
  const auto loaded = source->load("x");
  EXPECT_EQ(loaded.const_data_ptr(), source->stored_bytes("x"));
  source.reset();
  fs::remove(folder / "a");
  EXPECT_TRUE(at::equal(loaded, at::arange(4, at::kFloat)));
}

TEST(Safetensors, UnalignedTensorsAreCopied) {
  const TestFolder folder;
  const std::string header =
      R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"f":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  const auto path = folder.file("a", file_bytes(header, bytes_of('x') + bytes_of(1.5f) + bytes_of(-2.0f)));
  const auto loaded = open_safetensors(path)->load("f");
  EXPECT_EQ(loaded[0].item<float>(), 1.5f);
  EXPECT_EQ(loaded[1].item<float>(), -2.0f);
}

TEST(Safetensors, MetadataIsKept) {
  const TestFolder folder;
  write_safetensors(folder / "a", {{"x", at::empty({1})}}, {{"format", "pt"}, {"Größe", "1\n\"2\""}});
  EXPECT_EQ(safetensors_metadata(folder / "a"),
            (std::map<std::string, std::string>{{"format", "pt"}, {"Größe", "1\n\"2\""}}));
  write_safetensors(folder / "b", {{"x", at::empty({1})}});
  EXPECT_EQ(safetensors_metadata(folder / "b").at("format"), "pt");
}

TEST(Safetensors, AMissingTensorIsNamedWithItsNearest) {
  const TestFolder folder;
  write_safetensors(folder / "a", {{"layers.0.weight", at::empty({1})}, {"head", at::empty({1})}});
  const auto source = open_safetensors(folder / "a");
  expect_error(ErrorCode::not_found, "did you mean 'layers.0.weight'", [&] { source->load("layer.0.weight"); });
  expect_error(ErrorCode::not_found, "'layer.0.weight'", [&] { source->stored_bytes("layer.0.weight"); });
}

TEST(Safetensors, WhatCannotBeWrittenIsRefusedAndLeavesNothing) {
  const TestFolder folder;
  const auto x = at::empty({1});
  const auto write = [&](const Tensors& tensors, const std::map<std::string, std::string>& metadata = {}) {
    return [&folder, tensors, metadata] { write_safetensors(folder / "a", tensors, metadata); };
  };
  expect_error(ErrorCode::unsupported, "tensor 'z' has type", write({{"z", at::empty({1}, at::kComplexDouble)}}));
  expect_error(ErrorCode::unsupported, "'z' is undefined", write({{"z", at::Tensor()}}));
  expect_error(ErrorCode::format, "cannot name a tensor", write({{"__metadata__", x}}));
  expect_error(ErrorCode::format, "cannot name a tensor", write({{"a\nb", x}}));
  expect_error(ErrorCode::format, "cannot name a tensor", write({{"\xFF", x}}));
  expect_error(ErrorCode::format, "not UTF-8", write({{"x", x}}, {{"key", "\xC0\x80"}}));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace quiver::tensor_io
