// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/fold_base.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/merging/test_experts.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/weights_folder.h"

namespace quiver::merging {
namespace {

class FoldBase : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quiver_fold_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  static fs::path golden(const std::string& name) { return fs::path(QUIVER_SOURCE_DIR) / "tests/golden" / name; }

  void expect_error(ErrorCode code, const fs::path& base, const adapter::Adapter& adapter, const std::string& part) {
    try {
      fold_into_base(base, adapter, folder_ / "out");
      ADD_FAILURE() << "passed, expected: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
    EXPECT_FALSE(fs::exists(folder_ / "out"));
  }

  /// A base of one bfloat16 linear and something else.
  fs::path small_base(at::ScalarType dtype = at::kBFloat16) {
    fs::create_directories(folder_ / "base");
    write_file_atomically(folder_ / "base/config.json", "{}");
    write_file_atomically(folder_ / "base/pytorch_model.bin", "old");
    tensor_io::write_safetensors(
        folder_ / "base/model.safetensors",
        {{"x.q_proj.weight", random_tensor(9, 7, 1).to(dtype)}, {"x.norm.weight", random_tensor(1, 7, 2)}},
        {{"format", "pt"}});
    return folder_ / "base";
  }

  fs::path folder_;
};

TEST_F(FoldBase, ShardsKeepTheirNamesAndEveryOtherTensor) {
  const auto base = golden("llama_tied");  // two shards and an index
  adapter::Adapter adapter;
  const auto before = tensor_io::open_weights_folder(base);
  const auto weight = before->load("model.layers.1.self_attn.q_proj.weight").to(at::kFloat);
  adapter.sites["model.layers.1.self_attn.q_proj"] = random_factors(weight.size(1), weight.size(0), 3, 0.7, 3);
  fold_into_base(base, adapter, folder_ / "out");
  const auto after = tensor_io::open_weights_folder(folder_ / "out");
  ASSERT_EQ(after->tensors().size(), before->tensors().size());
  for (const auto& [name, info] : before->tensors()) {
    EXPECT_EQ(after->tensors().at(name).stored_dtype, info.stored_dtype);
    if (name != "model.layers.1.self_attn.q_proj.weight") {
      EXPECT_TRUE(after->load(name).equal(before->load(name))) << name;
    }
  }
  const auto expected = weight.to(at::kDouble) + difference(adapter, "model.layers.1.self_attn.q_proj");
  EXPECT_LT(largest_gap(after->load("model.layers.1.self_attn.q_proj.weight"), expected), 1e-5);
  EXPECT_EQ(read_file(folder_ / "out/config.json"), read_file(base / "config.json"));
}

TEST_F(FoldBase, ABfloat16WeightIsRoundedOnce) {
  const auto base = small_base();
  adapter::Adapter adapter;
  adapter.sites["x.q_proj"] = random_factors(7, 9, 2, 1.5, 4);
  fold_into_base(base, adapter, folder_ / "out");
  const auto file = tensor_io::open_safetensors(folder_ / "out/model.safetensors");
  const auto exact = random_tensor(9, 7, 1).to(at::kBFloat16).to(at::kDouble) + difference(adapter, "x.q_proj");
  const auto got = file->load("x.q_proj.weight");
  EXPECT_EQ(got.scalar_type(), at::kBFloat16);
  // Half a unit in the last of bfloat16's 8 places; a value near the middle may go either way by float32's rounding.
  const auto bound = exact.abs() / 256.0 + 1e-5;
  EXPECT_TRUE((got.to(at::kDouble) - exact).abs().le(bound).all().item<bool>());
  EXPECT_FALSE(fs::exists(folder_ / "out/pytorch_model.bin"));
  EXPECT_EQ(tensor_io::safetensors_metadata(folder_ / "out/model.safetensors").at("format"), "pt");
}

TEST_F(FoldBase, WhatDoesNotFitIsRefusedAndNothingIsWritten) {
  adapter::Adapter adapter;
  adapter.sites["x.k_proj"] = random_factors(7, 9, 2, 1.0, 5);
  expect_error(ErrorCode::mismatch, small_base(), adapter, "x.k_proj");
  adapter.sites = {{"x.q_proj", random_factors(8, 9, 2, 1.0, 5)}};
  expect_error(ErrorCode::mismatch, small_base(), adapter, "[9,7]");
  adapter.sites = {{"x.q_proj", random_factors(7, 9, 2, 1.0, 5)}};
  expect_error(ErrorCode::unsupported, small_base(at::kInt), adapter, "I32");
  write_file_atomically(folder_ / "base.gguf", "GGUF");
  expect_error(ErrorCode::usage, folder_ / "base.gguf", adapter, "GGUF");
  expect_error(ErrorCode::usage, folder_, adapter, "config.json");
  EXPECT_THROW(fold_into_base(small_base(), adapter, folder_ / "base"), Error);
}

}  // namespace
}  // namespace quiver::merging
