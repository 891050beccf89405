// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>

#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_files.h"
#include "quiver/tensor_io/torch_archive.h"
#include "quiver/tensor_io/weights_folder.h"

namespace quiver::tensor_io {
namespace {

at::Tensor filled(double value) { return at::full({2}, value, at::kFloat); }

/// Two shards: "a" and "b" in one.safetensors, "c" in two.safetensors.
class WeightsFolder : public testing::Test {
 protected:
  void SetUp() override {
    write_safetensors(folder_ / "one.safetensors", {{"a", filled(1)}, {"b", filled(2)}});
    write_safetensors(folder_ / "two.safetensors", {{"c", filled(3)}});
  }
  void index(const std::string& text) { folder_.file("model.safetensors.index.json", text); }
  void map(const std::string& weight_map) {
    index(R"({"metadata":{"total_size":1},"weight_map":{)" + weight_map + "}}");
  }
  void expect_refused(ErrorCode code, const std::string& part) {
    expect_error(code, part, [&] { open_weights_folder(folder_.path()); });
  }

  TestFolder folder_;
  const std::string whole_ = R"("a":"one.safetensors","b":"one.safetensors","c":"two.safetensors")";
};

TEST_F(WeightsFolder, ShardsAreOneSource) {
  map(whole_);
  const auto source = open_weights_folder(folder_.path());
  EXPECT_EQ(source->tensors().size(), 3u);
  EXPECT_EQ(source->tensors().at("c").stored_dtype, "F32");
  EXPECT_TRUE(at::equal(source->load("b"), filled(2)));
  EXPECT_TRUE(at::equal(source->load("c"), filled(3)));
  EXPECT_EQ(*static_cast<const float*>(source->stored_bytes("a")), 1.0f);
  expect_error(ErrorCode::not_found, "no tensor 'd'", [&] { source->load("d"); });
}

TEST_F(WeightsFolder, OneFileNeedsNoIndex) {
  write_safetensors(folder_ / "model.safetensors", {{"x", filled(4)}});
  EXPECT_TRUE(at::equal(open_weights_folder(folder_.path())->load("x"), filled(4)));
}

TEST_F(WeightsFolder, AWholeFileComesBeforeAnIndexThatWasLeft) {
  map(whole_);
  write_safetensors(folder_ / "model.safetensors", {{"a", filled(5)}});
  EXPECT_TRUE(at::equal(open_weights_folder(folder_.path())->load("a"), filled(5)));
  fs::remove(folder_ / "one.safetensors");
  EXPECT_EQ(open_weights_folder(folder_.path())->tensors().size(), 1u);
}

TEST_F(WeightsFolder, FilesOfTorchAreReadWhereThereIsNoSafetensors) {
  write_torch_archive(folder_ / "part.bin", {{"b", filled(6)}});
  folder_.file("pytorch_model.bin.index.json", R"({"weight_map":{"b":"part.bin"}})");
  const auto sharded = open_weights_folder(folder_.path());
  EXPECT_TRUE(at::equal(sharded->load("b"), filled(6)));
  EXPECT_EQ(*static_cast<const float*>(sharded->stored_bytes("b")), 6.0f);
  write_torch_archive(folder_ / "pytorch_model.bin", {{"b", filled(7)}});
  EXPECT_TRUE(at::equal(open_weights_folder(folder_.path())->load("b"), filled(7)));
  map(whole_);
  EXPECT_TRUE(at::equal(open_weights_folder(folder_.path())->load("b"), filled(2)));
}

TEST_F(WeightsFolder, NeitherFileIsAnError) {
  expect_refused(ErrorCode::not_found, "expected model.safetensors or pytorch_model.bin");
  expect_error(ErrorCode::not_found, "expected model.safetensors", [&] { open_weights_folder(folder_ / "none"); });
}

TEST_F(WeightsFolder, NoFileMayLeaveTheFolder) {
  for (const char* shard :
       {"../one.safetensors", "sub/one.safetensors", "..", ".", "", "/etc/passwd", "a\\\\b", "c:d"}) {
    map(R"("a":")" + std::string(shard) + "\"");
    expect_refused(ErrorCode::format, "expected the plain name of a file");
  }
}

TEST_F(WeightsFolder, AnIndexThatDoesNotFitItsShardsIsRefused) {
  map(whole_ + R"(,"d":"two.safetensors")");
  expect_refused(ErrorCode::format, "tensor 'd' is not in 'two.safetensors'");
  map(R"("a":"one.safetensors","b":"two.safetensors","c":"two.safetensors")");
  expect_refused(ErrorCode::format, "tensor 'b' is not in 'two.safetensors'");
  map(R"("a":"one.safetensors","c":"two.safetensors")");
  expect_refused(ErrorCode::format, "tensor 'b' of 'one.safetensors' is not in the index");
  map(whole_ + R"(,"d":"three.safetensors")");
  expect_refused(ErrorCode::not_found, "three.safetensors");
  write_safetensors(folder_ / "three.safetensors", {{"a", filled(1)}, {"d", filled(4)}});
  expect_refused(ErrorCode::format, "tensor 'a' is in 'three.safetensors' too");
}

TEST_F(WeightsFolder, DamagedIndexesAreRefused) {
  index("");
  expect_refused(ErrorCode::format, "not valid JSON");
  index("[]");
  expect_refused(ErrorCode::format, "this is another value");
  index("{}");
  expect_refused(ErrorCode::format, "weight_map");
  index(R"({"weight_map":[]})");
  expect_refused(ErrorCode::format, "weight_map");
  map(R"("a":1)");
  expect_refused(ErrorCode::format, "tensor 'a' is mapped to 1");
  map(R"("a":"one.safetensors","a":"two.safetensors")");
  expect_refused(ErrorCode::format, "key \"a\" stands twice");
  map(R"("a\nb":"one.safetensors")");
  expect_refused(ErrorCode::format, "cannot name a tensor");
  index(std::string(1'000'000, '['));
  expect_refused(ErrorCode::format, "nested deeper");
}

}  // namespace
}  // namespace quiver::tensor_io
