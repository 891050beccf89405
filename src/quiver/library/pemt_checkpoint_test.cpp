// SPDX-License-Identifier: Apache-2.0
// Files written as torch.save writes them, with the keys of PEMT's code.
#include "quiver/library/pemt_checkpoint.h"

#include <ATen/ops/randn.h>

#include <cmath>

#include "quiver/library/collection.h"
#include "quiver/tensor_io/test_files.h"
#include "quiver/tensor_io/torch_archive.h"

namespace quiver::library {
namespace {

using tensor_io::expect_error;
using tensor_io::TestFolder;

const std::string kSite = "encoder.block.0.layer.1.DenseReluDense.wo";

TEST(PemtCheckpoint, ASourceIsFactorsAndAPrompt) {
  const TestFolder folder;
  const auto a = at::randn({4, 12}), b = at::randn({8, 4}), prompt = at::randn({5, 8});
  fs::create_directories(folder / "runs/mnli");
  tensor_io::write_torch_archive(folder / "runs/mnli/lora.pt", {{kSite + ".lora_A", a}, {kSite + ".lora_B", b}});
  tensor_io::write_torch_archive(folder / "runs/mnli/task_embedding.pt", {{"task_shared", prompt}});
  const auto found = find_experts(folder / "runs", CollectionFormat::pemt);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, "mnli");
  const auto expert = read_found_expert(found[0], std::nullopt);
  const auto& factors = expert.adapter.sites.at(kSite);
  EXPECT_TRUE(factors.a.equal(a) && factors.b.equal(b) && expert.adapter.soft_prompt.equal(prompt));
  EXPECT_EQ(factors.scale, 1.0);
  EXPECT_EQ(read_found_expert(found[0], 8.0).adapter.sites.at(kSite).scale, 2.0);
  for (const double alpha : {0.0, -1.0, std::nan("")})
    expect_error(ErrorCode::usage, "--alpha", [&] { read_found_expert(found[0], alpha); });
  // Found by itself too, beside PEFT's folders.
  EXPECT_EQ(find_experts(folder / "runs", CollectionFormat::automatic).size(), 1u);
  expect_error(ErrorCode::not_found, "lora.pt", [&] { find_experts(folder / "runs", CollectionFormat::peft); });
}

TEST(PemtCheckpoint, TheSecondStageHoldsSourcesByNumber) {
  const TestFolder folder;
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (int k = 0; k < 3; ++k) {
    tensors.push_back({kSite + ".lora_A." + std::to_string(k), at::randn({2, 12}) + k});
    tensors.push_back({kSite + ".lora_B." + std::to_string(k), at::randn({8, 2})});
  }
  fs::create_directories(folder / "cb");
  tensor_io::write_torch_archive(folder / "cb/lora.pt", tensors);
  const auto found = find_experts(folder / "cb", CollectionFormat::pemt);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[2].name, "cb-2");
  EXPECT_TRUE(read_found_expert(found[2], {}).adapter.sites.at(kSite).a.equal(tensors[4].second));
}

TEST(PemtCheckpoint, WhatIsNoSuchFileIsRefused) {
  const TestFolder folder;
  fs::create_directories(folder / "x");
  tensor_io::write_torch_archive(folder / "x/lora.pt", {{kSite + ".lora_A", at::randn({4, 12})}});
  expect_error(ErrorCode::format, "lacks lora_A or lora_B", [&] { read_pemt_source(folder / "x", 0, {}); });
  tensor_io::write_torch_archive(folder / "x/lora.pt", {{kSite + ".weight", at::randn({4, 12})}});
  expect_error(ErrorCode::unsupported, ".weight", [&] { pemt_sources(folder / "x"); });
}

}  // namespace
}  // namespace quiver::library
