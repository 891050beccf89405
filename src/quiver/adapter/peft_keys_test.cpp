// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/peft_keys.h"

#include <gtest/gtest.h>

#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

using Keys = std::map<std::string, std::string>;

Keys keys_of(const std::vector<std::string>& keys) {
  std::map<std::string, tensor_io::TensorInfo> tensors;
  for (const auto& key : keys) tensors[key] = {};
  return peft_keys(tensors, "test");
}

std::string plain(const std::string& key) { return keys_of({key}).begin()->first; }

TEST(PeftKeys, TheAdaptersNameIsLeftOut) {
  const std::string site = "base_model.model.model.layers.0.self_attn.q_proj";
  EXPECT_EQ(plain(site + ".lora_A.weight"), site + ".lora_A.weight");
  EXPECT_EQ(plain(site + ".lora_A.default.weight"), site + ".lora_A.weight");
  EXPECT_EQ(plain(site + ".lora_B.my-task.weight"), site + ".lora_B.weight");
  EXPECT_EQ(plain(site + ".lora_B.bias"), site + ".lora_B.bias");
  EXPECT_EQ(plain(site + ".lora_B.default.bias"), site + ".lora_B.bias");
  EXPECT_EQ(plain(site + ".lora_E.default"), site + ".lora_E");
  EXPECT_EQ(plain(site + ".lora_E"), site + ".lora_E");
  EXPECT_EQ(plain(site + ".lora_magnitude_vector"), site + ".lora_magnitude_vector");
  EXPECT_EQ(plain(site + ".lora_magnitude_vector.weight"), site + ".lora_magnitude_vector");
  EXPECT_EQ(plain(site + ".lora_magnitude_vector.default.weight"), site + ".lora_magnitude_vector");
  EXPECT_EQ(plain(site + ".ia3_l.default"), site + ".ia3_l");
  EXPECT_EQ(plain("base_model.model.norm.ln_tuning_layers.default.weight"),
            "base_model.model.norm.ln_tuning_layers.weight");
  EXPECT_EQ(plain("base_model.model._orig_mod.q.lora_A.weight"), "base_model.model.q.lora_A.weight");
  for (const auto* other : {"prompt_embeddings", "base_model.vera_A", "x.lora_A.a.b", "x.adapter.down.weight"})
    EXPECT_EQ(plain(other), other);
}

TEST(PeftKeys, TwoAdaptersInOneFileAreRefusedByName) {
  try {
    keys_of({"x.lora_A.one.weight", "x.lora_A.two.weight"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("'one' and 'two'"), std::string::npos) << error.what();
  }
  EXPECT_THROW(keys_of({"x.lora_A.one.weight", "x.lora_A.weight"}), Error);
}

}  // namespace
}  // namespace quiver::adapter
