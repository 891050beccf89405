// SPDX-License-Identifier: Apache-2.0
// MTTL libraries: those that torch.save wrote (tools/goldens/mttl_golden.py), and Quiver's own export, which torch
// reads where there is one.
#include "quiver/library/mttl_library.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <sys/wait.h>

#include <cstdlib>

#include "quiver/library/mttl_sites.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_files.h"
#include "quiver/tensor_io/torch_archive.h"

namespace quiver::library {
namespace {

using nlohmann::json;
using tensor_io::expect_error;
using tensor_io::golden;
using tensor_io::TestFolder;
using Names = std::vector<std::string>;

at::Tensor product(const ops::LoraFactors& f) { return f.scale * at::mm(f.b, f.a); }

/// Sums of at most three float32 products, whose sizes are below 20: a few times 20 x 2^-24.
constexpr double kProduct = 1e-5;

void expect_products(const ImportedExpert& expert, const std::string& name) {
  const auto file = tensor_io::open_safetensors(golden("mttl/products.safetensors"));
  std::size_t sites = 0;
  for (const auto& [key, info] : file->tensors()) {
    if (!key.starts_with(name + ".")) continue;
    const auto site = key.substr(name.size() + 1);
    ++sites;
    ASSERT_TRUE(expert.adapter.sites.contains(site)) << key;
    const auto got = product(expert.adapter.sites.at(site)), expected = file->load(key);
    ASSERT_EQ(got.sizes(), expected.sizes()) << key;
    EXPECT_LT((got - expected).abs().max().item<double>(), kProduct) << key;
  }
  EXPECT_GT(sites, 0u);
  EXPECT_EQ(expert.adapter.sites.size(), sites);
}

TEST(MttlLibrary, ExpertsAreNamedByTheirMetadata) {
  EXPECT_EQ(mttl_expert_names(golden("mttl/library")), (Names{"gone", "plain", "tied", "unknown_alpha"}));
  EXPECT_TRUE(mttl_expert_names(golden("adapters/a")).empty());
}

TEST(MttlLibrary, APlainExpertIsReadWithAllThatIsKnownOfIt) {
  const auto expert = read_mttl_expert(golden("mttl/library"), "plain", std::nullopt);
  expect_products(expert, "plain");
  EXPECT_FALSE(expert.deleted);
  EXPECT_EQ(expert.info.name, "plain");
  EXPECT_EQ(expert.info.tasks, Names{"one_task"});
  EXPECT_EQ(expert.adapter.options.rank, 2);
  EXPECT_EQ(expert.adapter.options.alpha, 8);
  const auto& training = expert.info.training.at("mttl").at("training_config");
  EXPECT_EQ(training.at("dataset"), "flan");
  EXPECT_EQ(training.at("seed"), std::int64_t{1} << 40);
  EXPECT_EQ(training.at("sizes"), json::parse("[1, 2]"));
  EXPECT_EQ(expert.info.training.at("mttl").at("expert_config").at("lora_alpha"), 8.0);
  EXPECT_EQ(expert.info.training.at("options").at("rank"), 2);
  EXPECT_EQ(expert.info.scores.at("mttl").at(R"(["accuracy","one_task","test"])").at("value"), 0.5);
  ASSERT_EQ(expert.notes.size(), 1u);
  EXPECT_NE(expert.notes[0].find("plain.arrow-0a1b_protos.bin"), std::string::npos);
}

TEST(MttlLibrary, TiedParametersAreMadeAgainAndObjectsAreReadAsTheirAttributes) {
  const auto expert = read_mttl_expert(golden("mttl/library"), "tied", std::nullopt);
  expect_products(expert, "tied");
  EXPECT_EQ(expert.info.tasks, (Names{"first_task", "second_task"}));
  EXPECT_EQ(expert.adapter.options.dropout, 0.05);
  EXPECT_EQ(expert.info.training["mttl"]["training_config"]["dtype"], "torch.bfloat16");
}

TEST(MttlLibrary, DeletedExpertsSaySo) {
  EXPECT_TRUE(read_mttl_expert(golden("mttl/library"), "gone", std::nullopt).deleted);
}

TEST(MttlLibrary, AlphaIsAskedForWhereTheMetadataDoesNotSayIt) {
  expect_error(ErrorCode::usage, "give --alpha",
               [] { read_mttl_expert(golden("mttl/library"), "unknown_alpha", std::nullopt); });
  expect_products(read_mttl_expert(golden("mttl/library"), "unknown_alpha", 5.0), "unknown_alpha");
  expect_products(read_mttl_expert(golden("mttl/library"), "plain", 5.0), "plain");  // the metadata's stands
}

TEST(MttlLibrary, OldPhiLayoutsAreSitesOfTheHuggingFaceModel) {
  for (const std::string name : {"old", "older"})
    expect_products(read_mttl_expert(golden("mttl/phi"), name, std::nullopt), name);
}

TEST(MttlSites, ModulePathsBecomeHuggingFaces) {
  const auto site_of = [](const std::string& module) {
    const auto sites =
        sites_of_parameters({{module + ".lora_a", at::ones({4, 2})}, {module + ".lora_b", at::ones({2, 6})}}, "test");
    return sites.begin()->first;
  };
  EXPECT_EQ(site_of("model.layers.3.mlp.up_proj"), "model.layers.3.mlp.up_proj");
  EXPECT_EQ(site_of("layers.3.mlp.up_proj"), "model.layers.3.mlp.up_proj");
  EXPECT_EQ(site_of("model.model.layers.3.mlp.up_proj"), "model.layers.3.mlp.up_proj");
  EXPECT_EQ(site_of("transformer.h.3.mlp.fc1"), "model.layers.3.mlp.fc1");
  EXPECT_EQ(site_of("transformer.h.3.attn.attention.q_proj"), "transformer.h.3.attn.attention.q_proj");  // GPT-Neo
  EXPECT_EQ(site_of("layers.4.mixer.out_proj"), "model.layers.3.self_attn.dense");
  expect_error(ErrorCode::mismatch, "layer 0", [&] { site_of("layers.0.mixer.out_proj"); });
}

TEST(MttlSites, ParametersThatAreNoLoraAreRefusedByName) {
  const auto refused = [](ErrorCode code, const std::string& part,
                          const std::map<std::string, at::Tensor>& parameters) {
    expect_error(code, part, [&] { sites_of_parameters(parameters, "test"); });
  };
  const auto a = at::ones({4, 2}), b = at::ones({2, 6});
  refused(ErrorCode::format, "no parameters", {});
  refused(ErrorCode::unsupported, "'m.lora_c'", {{"m.lora_c", a}});
  refused(ErrorCode::unsupported, "'.lora_a'", {{".lora_a", a}});
  refused(ErrorCode::format, "'m' has lora_a but not lora_b", {{"m.lora_a", a}});
  refused(ErrorCode::mismatch, "not [in, R] and [R, out]", {{"m.lora_a", a}, {"m.lora_b", at::ones({3, 6})}});
  refused(ErrorCode::mismatch, "no matrix", {{"m.lora_a", at::ones({1, 4, 2})}, {"m.lora_b", b}});
  refused(ErrorCode::mismatch, "no matrix", {{"m.lora_a", a.to(at::kLong)}, {"m.lora_b", b}});
  refused(ErrorCode::mismatch, "are not q, k and v",
          {{"layers.1.mixer.Wqkv.lora_a", a}, {"layers.1.mixer.Wqkv.lora_b", at::ones({2, 7})}});
  refused(ErrorCode::format, "two modules are the site",
          {{"layers.1.q.lora_a", a},
           {"layers.1.q.lora_b", b},
           {"model.layers.1.q.lora_a", a},
           {"model.layers.1.q.lora_b", b}});
}

TEST(MttlSites, TiedParametersThatDifferAreRefused) {
  const auto a = at::ones({4, 2}), b = at::ones({2, 6});
  std::map<std::string, at::Tensor> parameters{{"m.q.lora_a", a}, {"m.k.lora_a", a + 1}};
  expect_error(ErrorCode::mismatch, "are tied", [&] { add_tied_parameters(parameters, "q.lora_a|k.lora_a", "test"); });
  expect_error(ErrorCode::unsupported, "'tie_params'",
               [&] { add_tied_parameters(parameters, "(q|k).lora_a", "test"); });
  parameters = {{"m.k.lora_a", a}, {"m.q.lora_b", b}, {"n.q.lora_a", a}};
  add_tied_parameters(parameters, "q.*\\.lora_a|k.*\\.lora_a", "test");
  EXPECT_TRUE(parameters.contains("m.q.lora_a"));
  EXPECT_FALSE(parameters.contains("n.k.lora_a")) << "there is no lora_b for it";
}

TEST(MttlLibrary, MetadataThatDoesNotFitIsRefusedByName) {
  const TestFolder folder;
  fs::copy(golden("mttl/library/plain.ckpt"), folder / "e.ckpt");
  const auto meta = [&](const json& change) {
    json value{{"expert_name", "e"}, {"expert_config", {{"lora_rank", 2}, {"lora_alpha", 8}}}};
    value.update(change);
    tensor_io::write_torch_archive(folder / "e.meta", value);
  };
  const auto refused = [&](ErrorCode code, const std::string& part, const json& change) {
    meta(change);
    expect_error(code, part, [&] { read_mttl_expert(folder.path(), "e", std::nullopt); });
  };
  meta(json::object());
  EXPECT_NO_THROW(read_mttl_expert(folder.path(), "e", std::nullopt));
  refused(ErrorCode::mismatch, "expert \"f\"", {{"expert_name", "f"}});
  refused(ErrorCode::format, "'expert_name' is an integer", {{"expert_name", 3}});
  refused(ErrorCode::mismatch, "has rank 2, expected 3", {{"expert_config", {{"lora_rank", 3}, {"lora_alpha", 8}}}});
  refused(ErrorCode::format, "expected a positive number", {{"expert_config", {{"lora_alpha", 0}}}});
  refused(ErrorCode::format, "'lora_alpha' is text", {{"expert_config", {{"lora_alpha", "8"}}}});
  refused(ErrorCode::unsupported, "SkilledLoRAConfig",
          {{"expert_config", {{"class_name", "mttl.models.modifiers.lora.SkilledLoRAConfig"}}}});
  meta({{"expert_config", nullptr}, {"training_config", {{"lora_alpha", 4}}}});
  EXPECT_EQ(read_mttl_expert(folder.path(), "e", std::nullopt).adapter.options.alpha, 4);
  fs::remove(folder / "e.ckpt");
  expect_error(ErrorCode::not_found, "e.ckpt", [&] { read_mttl_expert(folder.path(), "e", std::nullopt); });
}

/// Ranks, scales and layers that MTTL has no words for.
adapter::Adapter uneven_adapter() {
  adapter::Adapter out;
  out.options.rank = 2;
  out.options.alpha = 4;
  out.sites["model.layers.0.self_attn.q_proj"] = {at::randn({2, 4}), at::randn({3, 2}), 2.0};
  out.sites["model.layers.2.mlp.up_proj"] = {at::randn({3, 4}), at::randn({5, 3}), 0.7};
  return out;
}

TEST(MttlLibrary, AnExportIsReadBackAsTheSameProducts) {
  const TestFolder folder;
  const auto adapter = uneven_adapter();
  ExpertInfo info;
  info.name = "v1.0";
  info.tasks = {"a", "b"};
  info.training = {{"steps", 12}};
  EXPECT_EQ(write_mttl_expert(folder.path(), info, adapter, "some/base"), "v1_0");
  const auto read = read_mttl_expert(folder.path(), "v1_0", std::nullopt);
  EXPECT_EQ(read.info.tasks, info.tasks);
  ASSERT_EQ(read.adapter.sites.size(), 2u);
  for (const auto& [site, factors] : adapter.sites) {
    EXPECT_EQ(read.adapter.sites.at(site).a.size(0), 3);
    EXPECT_TRUE(at::allclose(product(read.adapter.sites.at(site)), product(factors), 1e-5, 1e-6)) << site;
  }
  EXPECT_EQ(read.adapter.options.alpha, 6) << "rank 3 and the first site's scale of 2";
  const auto& config = read.info.training["mttl"]["expert_config"];
  EXPECT_EQ(config["modify_layers"], "q_proj|up_proj");
  EXPECT_EQ(config["modify_modules"], "model\\.layers\\.0\\.self_attn|model\\.layers\\.2\\.mlp");
  EXPECT_EQ(read.info.training["mttl"]["training_config"], json::parse(R"({"steps": 12, "model": "some/base"})"));
  expect_error(ErrorCode::usage, "two experts would be 'v1_0'", [&] {
    info.name = "v1_0";
    write_mttl_expert(folder.path(), info, adapter, "some/base");
  });
}

TEST(MttlLibrary, AnExpertOfMttlIsExportedAsItCame) {
  const TestFolder folder;
  const auto expert = read_mttl_expert(golden("mttl/library"), "plain", std::nullopt);
  write_mttl_expert(folder.path(), expert.info, expert.adapter, "tiny");
  const auto original = tensor_io::open_torch_tensors(golden("mttl/library/plain.ckpt"));
  const auto written = tensor_io::open_torch_tensors(folder / "plain.ckpt");
  ASSERT_EQ(written->tensors().size(), original->tensors().size());
  for (const auto& [name, info] : original->tensors()) EXPECT_TRUE(written->load(name).equal(original->load(name)));
  const auto again = read_mttl_expert(folder.path(), "plain", std::nullopt);
  EXPECT_EQ(again.info.training["mttl"]["training_config"], expert.info.training["mttl"]["training_config"]);
  EXPECT_EQ(again.info.training["mttl"]["expert_config"]["modify_modules"], ".*");
  EXPECT_EQ(adapter::lora_scale(again.adapter.options.alpha, again.adapter.options.rank, false), 4.0);
}

/// torch.load, told to run nothing, reads both files; what it writes again is the same.
TEST(MttlLibrary, TorchReadsAnExport) {
  const auto python = fs::path(QUIVER_SOURCE_DIR) / ".venv/bin/python";
  const TestFolder folder;
  const auto adapter = uneven_adapter();
  ExpertInfo info;
  info.name = "e";
  info.tasks = {"größer"};
  write_mttl_expert(folder.path(), info, adapter, "some/base");
  const auto script = folder.file("again.py", R"(
import sys
try:
    import torch
except ImportError:
    sys.exit(3)
for name in ("e.ckpt", "e.meta"):
    torch.save(torch.load(name, weights_only=True), "again_" + name)
)");
  const auto command = "cd " + folder.path().string() + " && " + python.string() + " " + script.string();
  const int status = fs::exists(python) ? WEXITSTATUS(std::system(command.c_str())) : 3;
  if (status == 3) GTEST_SKIP() << python.string() << " is not there or has no torch";
  ASSERT_EQ(status, 0);
  const auto written = tensor_io::open_torch_tensors(folder / "e.ckpt"),
             again = tensor_io::open_torch_tensors(folder / "again_e.ckpt");
  ASSERT_EQ(again->tensors().size(), 4u);
  for (const auto& [name, tensor] : written->tensors())
    EXPECT_TRUE(again->load(name).equal(written->load(name))) << name;
  const auto json_of = [&](const char* name) {
    return tensor_io::pickle_to_json(*tensor_io::read_torch_archive(folder / name).root);
  };
  EXPECT_EQ(json_of("again_e.meta"), json_of("e.meta"));
}

}  // namespace
}  // namespace quiver::library
