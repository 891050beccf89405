// SPDX-License-Identifier: Apache-2.0
// What folders hold besides the usual: heads, embeddings and prefixes that are stored otherwise, weights that mean
// something else.
#include "quiver/model/load.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <c10/core/GradMode.h>

#include <functional>

#include "quiver/model/trainable_model.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_files.h"
#include "quiver/tensor_io/test_gguf.h"
#include "quiver/tensor_io/torch_archive.h"
#include "quiver/tensor_io/weights_folder.h"

namespace quiver::model {
namespace {

using nlohmann::json;
using tensor_io::expect_error;
using Tensors = std::map<std::string, at::Tensor>;

class Load : public testing::Test {
 protected:
  /// A golden model whose configuration and tensors `change` has changed.
  fs::path copy(const std::string& golden, const std::function<void(json&, Tensors&)>& change) {
    const auto from = tensor_io::golden(golden);
    auto config = json::parse(read_file(from / "config.json"));
    Tensors tensors;
    const auto source = tensor_io::open_weights_folder(from);
    for (const auto& [name, info] : source->tensors()) tensors[name] = source->load(name).clone();
    change(config, tensors);
    const auto folder = folder_ / std::to_string(made_++);
    fs::create_directories(folder);
    write_file_atomically(folder / "config.json", config.dump());
    tensor_io::write_safetensors(folder / "model.safetensors", tensors);
    return folder;
  }
  static Model open(const fs::path& folder) { return load_model(folder, at::kFloat); }
  static at::Tensor logits(const Model& model) {
    const c10::AutoGradMode no_gradient(false);
    const std::vector<std::int32_t> ids{5, 17, 3, 40, 8};
    return model.logits(model.forward(pack({{ids, nullptr, true}}), nullptr));
  }
  static bool equal(const Model& a, const Model& b) { return logits(a).equal(logits(b)); }

  tensor_io::TestFolder folder_;
  int made_ = 0;
};

constexpr const char *kHead = "lm_head.weight", *kEmbedding = "model.embed_tokens.weight";

TEST_F(Load, ATiedHeadThatIsStoredAndDiffersIsTheHead) {
  const auto tied = copy("llama_untied", [](json& config, Tensors& t) {
    config["tie_word_embeddings"] = true;
    t.erase(kHead);
  });
  const auto with_copy = copy("llama_untied", [](json& config, Tensors& t) {
    config["tie_word_embeddings"] = true;
    t[kHead] = t[kEmbedding];
  });
  const auto other = copy("llama_untied", [](json& config, Tensors&) { config["tie_word_embeddings"] = true; });
  const auto untied = open(tensor_io::golden("llama_untied"));
  EXPECT_TRUE(equal(open(other), untied));
  EXPECT_FALSE(open(other).config().tied_head);
  EXPECT_TRUE(equal(open(with_copy), open(tied)));
  EXPECT_FALSE(equal(open(tied), untied));
  EXPECT_EQ(open(with_copy).fingerprint(), open(tied).fingerprint());
  // Training moves the embedding away from such a copy, which must not become a head by that.
  EXPECT_FALSE(TrainableModel::open(with_copy).weights().contains(kHead));
  EXPECT_TRUE(TrainableModel::open(other).weights().contains(kHead));
}

TEST_F(Load, AModelSavedWithoutItsHeadIsReadWithTheTiedOne) {
  const auto headless = copy("llama_tied", [](json& config, Tensors& t) {
    config["architectures"] = {"LlamaModel"};
    Tensors bare;
    for (const auto& [name, tensor] : t) bare[name.substr(std::string("model.").size())] = tensor;
    t = bare;
    t["layers.1.self_attn.rotary_emb.inv_freq"] = at::ones({8});
  });
  EXPECT_TRUE(equal(open(headless), open(tensor_io::golden("llama_tied"))));
  const auto untied = copy("llama_untied", [](json& config, Tensors& t) {
    config["architectures"] = {"LlamaModel"};
    t.erase(kHead);
  });
  expect_error(ErrorCode::not_found, "tensor 'lm_head.weight' is missing", [&] { open(untied); });
}

TEST_F(Load, AFolderWithoutArchitecturesIsReadByItsModelType) {
  const auto unnamed = copy("llama_untied", [](json& config, Tensors&) { config["architectures"] = nullptr; });
  EXPECT_TRUE(equal(open(unnamed), open(tensor_io::golden("llama_untied"))));
  const auto unknown = copy("llama_untied", [](json& config, Tensors&) {
    config.erase("architectures");
    config["model_type"] = "gru";
  });
  expect_error(ErrorCode::unsupported, "architecture 'gru', known: LlamaForCausalLM", [&] { open(unknown); });
}

TEST_F(Load, OneEmbeddingServesBothStacksWhateverItsName) {
  const auto expected = open(tensor_io::golden("t5/v10"));
  for (const char* name : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}) {
    const auto renamed = copy("t5/v10", [&](json&, Tensors& t) {
      t.erase("encoder.embed_tokens.weight");
      t.erase("decoder.embed_tokens.weight");
      auto shared = t.extract("shared.weight");
      shared.key() = name;
      t.insert(std::move(shared));
    });
    EXPECT_TRUE(open(renamed).embedding().equal(expected.embedding())) << name;
  }
  const auto two =
      copy("t5/v10", [](json&, Tensors& t) { t["encoder.embed_tokens.weight"] = t.at("shared.weight") + 1; });
  expect_error(ErrorCode::unsupported, "expected one embedding for both stacks", [&] { open(two); });
}

TEST_F(Load, BucketsNeedNotBeAMultipleOfFour) {
  for (const std::int64_t buckets : {4, 5, 6, 7, 31}) {
    const auto folder = copy("t5/v10", [&](json& config, Tensors& t) {
      config["relative_attention_num_buckets"] = buckets;
      for (const auto* stack : {"encoder", "decoder"}) {
        auto& bias = t[std::string(stack) + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight"];
        bias = bias.narrow(0, 0, buckets).clone();
      }
    });
    EXPECT_NO_THROW(open(folder)) << buckets;
  }
}

TEST_F(Load, WeightsOfTorchAreRead) {
  const auto folder = copy("llama_untied", [](json&, Tensors&) {});
  const auto expected = open(folder);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  const auto source = tensor_io::open_weights_folder(folder);
  for (const auto& [name, info] : source->tensors()) tensors.emplace_back(name, source->load(name).clone());
  fs::remove(folder / "model.safetensors");
  tensor_io::write_torch_archive(folder / "pytorch_model.bin", tensors);
  EXPECT_TRUE(equal(open(folder), expected));
}

TEST_F(Load, QuantisedWeightsAreRefusedByName) {
  const std::pair<const char*, json> configs[] = {
      {"quantised by gptq", {{"quant_method", "gptq"}, {"bits", 4}}},
      {"quantised by compressed-tensors", {{"quant_method", "compressed-tensors"}}},
      {"quantised by bitsandbytes", {{"load_in_8bit", true}}},
      {"quantised by quantization_config", {{"bits", 8}}},
  };
  for (const auto& [message, quantisation] : configs) {
    const auto folder =
        copy("llama_untied", [&](json& config, Tensors&) { config["quantization_config"] = quantisation; });
    expect_error(ErrorCode::unsupported, message, [&] { open(folder); });
    expect_error(ErrorCode::unsupported, message, [&] { TrainableModel::open(folder); });
  }
  const std::pair<const char*, const char*> endings[] = {{"qweight", "GPTQ or AWQ"},
                                                         {"weight_packed", "compressed-tensors"},
                                                         {"weight_scale_inv", "FP8"},
                                                         {"SCB", "bitsandbytes"}};
  for (const auto& [ending, method] : endings) {
    const auto folder = copy("llama_untied", [&](json&, Tensors& t) {
      t[std::string("model.layers.0.mlp.up_proj.") + ending] = at::ones({4});
    });
    expect_error(ErrorCode::unsupported, std::string("quantised by ") + method, [&] { open(folder); });
  }
  const auto plain = copy("llama_untied", [](json& config, Tensors&) { config["quantization_config"] = nullptr; });
  EXPECT_NO_THROW(open(plain));
}

TEST_F(Load, SitesKnowTheirRolesAndBlocks) {
  const auto llama = open(tensor_io::golden("llama_untied")), t5 = open(tensor_io::golden("t5/v10")),
             gated = open(tensor_io::golden("t5/v11"));
  const auto endings = [](const Model& model, Role role) { return model.site_endings(role); };
  using Names = std::vector<std::string>;
  EXPECT_EQ(endings(llama, Role::down), Names{"down_proj"});
  EXPECT_EQ(endings(llama, Role::gate), Names{"gate_proj"});
  EXPECT_EQ(endings(t5, Role::attention_output), Names{"o"});
  EXPECT_EQ(endings(t5, Role::down), Names{"wo"});
  EXPECT_EQ(endings(t5, Role::gate), Names{});
  EXPECT_EQ(endings(t5, Role::up), Names{"wi"});
  EXPECT_EQ(endings(gated, Role::gate), Names{"wi_0"});
  for (const auto* model : {&llama, &t5, &gated}) {
    for (const auto& a : model->sites()) {
      for (const auto& b : model->sites()) {
        const auto module = [](const Site& site) { return site.name.substr(0, site.name.rfind('.')); };
        EXPECT_EQ(a.block == b.block, module(a) == module(b)) << a.name << " " << b.name;
      }
    }
  }
}

TEST_F(Load, AFolderOfOneGgufModelIsThatModel) {
  namespace gguf = tensor_io::test_gguf;
  const auto folder = folder_ / "ggufs";
  fs::create_directories(folder);
  EXPECT_EQ(resolve_model(folder.string()), folder);
  write_file_atomically(folder / "blob", gguf::file_bytes({}));
  EXPECT_EQ(resolve_model(folder.string()), folder / "blob");
  write_file_atomically(folder / "two-00002-of-00002.gguf", gguf::file_bytes({}));
  EXPECT_EQ(resolve_model(folder.string()), folder / "blob");
  write_file_atomically(folder / "two-00001-of-00002.gguf", gguf::file_bytes({}));
  expect_error(ErrorCode::usage, "2 GGUF models in it", [&] { resolve_model(folder.string()); });
  write_file_atomically(folder / "config.json", "{}");
  EXPECT_EQ(resolve_model(folder.string()), folder);
}

TEST_F(Load, CopiesOfAModelAreHandlesOnOneBody) {
  std::optional<Model> first = open(tensor_io::golden("llama_untied"));
  const Model copy = *first;
  EXPECT_EQ(copy.embedding().const_data_ptr(), first->embedding().const_data_ptr());
  EXPECT_EQ(&copy.sites(), &first->sites());
  first.reset();
  EXPECT_TRUE(logits(copy).isfinite().all().item<bool>());
}

}  // namespace
}  // namespace quiver::model
