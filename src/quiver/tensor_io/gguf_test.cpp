// SPDX-License-Identifier: Apache-2.0
// GGUF against what the public gguf package wrote and read (tools/goldens/gguf_blocks.py).
#include "quiver/tensor_io/gguf.h"

#include <ATen/ops/equal.h>

#include <cstring>
#include <limits>

#include "quiver/tensor_io/gguf_dequantise.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_files.h"

namespace quiver::tensor_io {
namespace {

std::shared_ptr<GgufFile> blocks() { return GgufFile::open(golden("gguf_blocks.gguf")); }

TEST(Gguf, EveryTypeHasTheValuesOfTheReferenceBitForBit) {
  const auto file = blocks();
  const auto expected = open_safetensors(golden("gguf_blocks.safetensors"));
  ASSERT_EQ(file->tensors().size(), expected->tensors().size());
  for (const auto& [name, info] : expected->tensors()) {
    const auto loaded = file->load(name).to(at::kFloat);
    const auto reference = expected->load(name);
    ASSERT_EQ(loaded.sizes(), reference.sizes()) << name;
    EXPECT_EQ(std::memcmp(loaded.const_data_ptr(), reference.const_data_ptr(), reference.nbytes()), 0) << name;
  }
}

TEST(Gguf, PlainTypesKeepTheirTypeAndAreViews) {
  const auto file = blocks();
  const std::pair<const char*, at::ScalarType> plain[] = {
      {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}};
  for (const auto& [name, dtype] : plain) {
    EXPECT_EQ(file->load(name).scalar_type(), dtype);
    EXPECT_EQ(file->load(name).const_data_ptr(), file->stored_bytes(name));
  }
}

TEST(Gguf, ShapesAreInTheOrderOfTorch) {
  const auto file = blocks();
  EXPECT_EQ(file->tensors().at("cube").shape, (std::vector<std::int64_t>{2, 3, 4}));
  EXPECT_EQ(file->tensors().at("Q4_K").shape, (std::vector<std::int64_t>{3, 512}));
  EXPECT_EQ(file->tensors().at("Q4_K").stored_dtype, "Q4_K");
  EXPECT_EQ(file->tensors().at("Q4_K").bytes, 3u * 2 * 144);
}

TEST(Gguf, MetadataOfEveryType) {
  const auto file = blocks();
  EXPECT_EQ(file->text("general.architecture"), "llama");
  EXPECT_EQ(file->text("test.text"), "Käse");
  EXPECT_EQ(file->integer("test.u8"), 200);
  EXPECT_EQ(file->integer("test.i8"), -100);
  EXPECT_EQ(file->integer("test.u16"), 60000);
  EXPECT_EQ(file->integer("test.i16"), -30000);
  EXPECT_EQ(file->integer("test.u32"), 4000000000);
  EXPECT_EQ(file->integer("test.i32"), -2000000000);
  EXPECT_EQ(file->integer("test.u64"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(file->integer("test.i64"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(file->number("test.f32"), 0.5);
  EXPECT_EQ(file->number("test.f64"), 0.1);
  EXPECT_EQ(file->number("test.u8"), 200.0);
  const auto& all = file->metadata();
  EXPECT_EQ(all.at("test.yes"), GgufValue(true));
  EXPECT_EQ(all.at("test.no"), GgufValue(false));
  EXPECT_EQ(all.at("test.texts"), GgufValue(std::vector<std::string>{"a", "", "ü"}));
  EXPECT_EQ(all.at("test.wholes"), GgufValue(std::vector<std::int64_t>{3, -4, 5}));
  EXPECT_EQ(all.at("test.reals"), GgufValue(std::vector<double>{0.25, -1.5}));
  EXPECT_EQ(all.at("test.flags"), GgufValue(std::vector<std::int64_t>{1, 0, 1}));
}

TEST(Gguf, GettersNameTheKey) {
  const auto file = blocks();
  expect_error(ErrorCode::format, "metadata 'none' is missing", [&] { file->text("none"); });
  expect_error(ErrorCode::format, "metadata 'test.u8' is not text", [&] { file->text("test.u8"); });
  expect_error(ErrorCode::format, "metadata 'test.f32' is not a whole number", [&] { file->integer("test.f32"); });
  expect_error(ErrorCode::format, "metadata 'test.yes' is not a whole number", [&] { file->integer("test.yes"); });
  expect_error(ErrorCode::format, "metadata 'test.text' is not a number", [&] { file->number("test.text"); });
  EXPECT_EQ(file->find_text("none"), std::nullopt);
  EXPECT_EQ(file->find_integer("none"), std::nullopt);
  EXPECT_EQ(file->find_number("none"), std::nullopt);
  EXPECT_EQ(file->find_text("test.text"), "Käse");
  EXPECT_EQ(file->find_integer("test.u8"), 200);
  EXPECT_EQ(file->find_number("test.f32"), 0.5);
  expect_error(ErrorCode::format, "metadata 'test.u8' is not text", [&] { file->find_text("test.u8"); });
}

TEST(Gguf, AMissingTensorIsNamedWithItsNearest) {
  const auto file = blocks();
  expect_error(ErrorCode::not_found, "no tensor 'cubes'; did you mean 'cube'", [&] { file->load("cubes"); });
  expect_error(ErrorCode::not_found, "no tensor 'cubes'", [&] { file->stored_bytes("cubes"); });
}

TEST(Gguf, TensorsOutliveTheirFile) {
  auto file = blocks();
  const auto cube = file->load("cube");
  file.reset();
  EXPECT_EQ(cube[1][2][3].item<float>(), 23.0f);
}

TEST(Gguf, OnlyQuantisedTypesAreExpanded) {
  std::byte bytes[4] = {};
  float value = 0;
  const auto* plain = gguf_type_info(static_cast<std::uint32_t>(GgufType::F32));
  expect_error(ErrorCode::unsupported, "F32", [&] { dequantise(*plain, bytes, 1, &value); });
}

}  // namespace
}  // namespace quiver::tensor_io
