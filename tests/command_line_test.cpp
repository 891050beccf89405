// SPDX-License-Identifier: Apache-2.0
// The program as a user meets it: what it prints, one clear line for each error, and its exit status.
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "quiver/base/files.h"
#include "quiver/model/test_small_model.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver {
namespace {

using nlohmann::json;

struct Outcome {
  int status = 0;
  std::string output, errors;
};

class CommandLine : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("quiver_cli_" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    write_file_atomically(folder_ / "ids.json", "[[1, 2, 3], [4, 5, 6, 7]]");
  }
  void TearDown() override { fs::remove_all(folder_); }

  Outcome run(const std::string& arguments) {
    const auto errors = folder_ / "errors.txt";
    const auto command = std::string(QUIVER_BINARY) + " " + arguments + " 2>" + errors.string();
    FILE* pipe = popen(command.c_str(), "r");
    Outcome out;
    std::array<char, 4096> buffer;
    while (const auto n = fread(buffer.data(), 1, buffer.size(), pipe)) out.output.append(buffer.data(), n);
    out.status = WEXITSTATUS(pclose(pipe));
    out.errors = read_file(errors);
    return out;
  }

  std::string model() const { return (fs::path(QUIVER_SOURCE_DIR) / "tests/golden/llama_untied").string(); }
  std::string golden(const std::string& name) const {
    return (fs::path(QUIVER_SOURCE_DIR) / "tests/golden" / name).string();
  }

  std::string forward(const std::string& more) {
    return "forward --model " + model() + " --ids " + (folder_ / "ids.json").string() + " --output " +
           (folder_ / "out.safetensors").string() + " " + more;
  }

  /// A copy of golden adapter `a` after `change`.
  std::string changed_adapter(const std::function<void(json&)>& change_config,
                              const std::function<void(std::map<std::string, at::Tensor>&)>& change_tensors = nullptr) {
    const auto to = folder_ / "adapter";
    fs::remove_all(to);
    fs::create_directories(to);
    auto config = json::parse(read_file(golden("adapters/a/adapter_config.json")));
    if (change_config) change_config(config);
    write_file_atomically(to / "adapter_config.json", config.dump());
    const auto file = tensor_io::open_safetensors(golden("adapters/a/adapter_model.safetensors"));
    std::map<std::string, at::Tensor> tensors;
    for (const auto& [name, info] : file->tensors()) tensors[name] = file->load(name);
    if (change_tensors) change_tensors(tensors);
    tensor_io::write_safetensors(to / "adapter_model.safetensors", tensors);
    return to.string();
  }

  void expect_error(const Outcome& outcome, int status, const std::string& part) {
    EXPECT_EQ(outcome.status, status) << outcome.errors;
    EXPECT_NE(outcome.errors.find(part), std::string::npos) << "expected '" << part << "' in: " << outcome.errors;
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1) << outcome.errors;
    EXPECT_EQ(outcome.output, "");
  }

  fs::path folder_;
};

TEST_F(CommandLine, KernelsCanBeForcedAndAWrongNameIsOneLine) {
  setenv("QUIVER_FORCE_ISA", "baseline", 1);
  const auto forced = run("info --json");
  setenv("QUIVER_FORCE_ISA", "mmx", 1);
  const auto wrong = run("info");
  unsetenv("QUIVER_FORCE_ISA");
  EXPECT_EQ(json::parse(forced.output)["kernels"], "baseline");
  EXPECT_EQ(wrong.status, 2);
  EXPECT_NE(wrong.errors.find("'mmx', this machine has baseline"), std::string::npos) << wrong.errors;
  EXPECT_EQ(std::count(wrong.errors.begin(), wrong.errors.end(), '\n'), 1) << wrong.errors;
}

TEST_F(CommandLine, AnUnknownVerbOptionOrRouteNamesTheNearest) {
  expect_error(run("trian"), 2, "did you mean 'train'");
  expect_error(run(forward("--dtyp float32")), 2, "did you mean '--dtype'");
  expect_error(run(forward("--adapter " + golden("adapters/a") + " --route arow")), 2, "did you mean 'arrow'");
  expect_error(run(forward("--adapter " + golden("adapters/a") + " --route arrow:topk=3")), 2, "did you mean 'top_k'");
  expect_error(run(forward("--adapter " + golden("adapters/a") + " --route expert:b")), 2, "no such expert");
}

TEST_F(CommandLine, AMisspeltKeyOfAConfigFileNamesTheNearest) {
  const auto file = (folder_ / "options.toml").string();
  write_file_atomically(file, "dtyp = \"float32\"\n");
  expect_error(run(forward("--config " + file)), 2, "did you mean '--dtype'");
  // Keys count as given: what the action does not read is refused from there, too.
  write_file_atomically(file, "alpha = 4\n");
  expect_error(run("library list --library " + golden("adapters") + " --config " + file), 2,
               "--alpha] library list does not read it");
}

TEST_F(CommandLine, EveryVerbHasHelpWithExamples) {
  for (const auto* verb : {"info", "tokenize", "generate", "chat", "forward", "task", "train", "library", "prepare",
                           "cluster", "evaluate", "inspect", "bench"}) {
    const auto help = run(std::string(verb) + " --help");
    EXPECT_EQ(help.status, 0) << verb;
    EXPECT_NE(help.output.find("Examples:"), std::string::npos) << verb;
  }
}

TEST_F(CommandLine, ABenchmarksFilesBecomeATaskFile) {
  const auto files = folder_ / "superglue";
  std::string rows;
  for (int i = 0; i < 56; ++i) {
    const auto label = i % 2 == 0 ? "neutral" : "entailment";
    rows += json{{"premise", "P"}, {"hypothesis", "H" + std::to_string(i)}, {"label", label}, {"idx", i}}.dump() + "\n";
  }
  write_file_atomically(files / "CB/train.jsonl", rows);
  write_file_atomically(files / "CB/val.jsonl", rows);
  const auto task = "task --benchmark cb --files " + files.string() + " --output " + (folder_ / "cb.jsonl").string();
  const auto made = run(task + " --shots 4 --json");
  ASSERT_EQ(made.status, 0) << made.errors;
  const auto said = json::parse(made.output);
  EXPECT_EQ(said.at("train"), 8);
  EXPECT_EQ(said.at("validation"), 28);
  EXPECT_EQ(said.at("test"), 28);
  EXPECT_EQ(said.at("target_tokens"), 8);
  const auto text = read_file(folder_ / "cb.jsonl");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 64);
  EXPECT_EQ(json::parse(text.substr(0, text.find('\n'))).at("task"), "cb");
  expect_error(run(task + " --shots 2 --shots-per total"), 2, "at least one shot for each of 3 classes");
  expect_error(run("task --benchmark bc --files x --output y"), 2, "unknown name 'bc'");
  expect_error(run("task --benchmark cb"), 2, "--files DIR");
  const auto listed = run("task --list --json");
  EXPECT_EQ(std::count(listed.output.begin(), listed.output.end(), '\n'), 25);
  expect_error(run("task --list --benchmark cb"), 2, "--list does not read it");
  expect_error(run(task + " --shots-per total"), 2, "read only with --shots");
}

TEST_F(CommandLine, PromptsNameWhatTheyLack) {
  model::write_small_model(folder_ / "small");
  const auto base = "generate --max-new-tokens 1 --model " + (folder_ / "small").string() + " ";
  expect_error(run(base + "--prompt red --route oracle"), 2, "give --task-name");
  expect_error(run(base + "--prompt red --bos --no-bos"), 2, "[--bos, --no-bos] both are given");
  expect_error(run(base + "--prompt ''"), 2, "[--prompt] '' is empty");
  expect_error(run("train --model " + model() + " --task x --library ''"), 2, "[--library] '' is empty");
  expect_error(run(base + "--prompt \"$(printf '\\377')\""), 2, "byte 1 of 1 is not UTF-8");
  expect_error(run(base + "--prompt red --task-name colours"), 2, "[--task-name] the route base does not read it");
}

TEST_F(CommandLine, InfoPrintsOneJsonObject) {
  const auto outcome = run("info --json --model " + model());
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto info = json::parse(outcome.output);
  EXPECT_EQ(info.at("architecture"), "LlamaForCausalLM");
  EXPECT_EQ(info.at("sites").size(), 14u);
  EXPECT_EQ(info.at("fingerprint").get<std::string>().size(), 64u);
}

TEST_F(CommandLine, ALibraryIsMadeListedVerifiedExportedAndEmptied) {
  const auto library = " --library " + (folder_ / "library").string();
  for (const auto* name : {"a", "b"}) {
    const auto added = run("library add " + golden(std::string("adapters/") + name) + library + " --model " + model());
    ASSERT_EQ(added.status, 0) << added.errors;
  }
  expect_error(run("library add " + golden("adapters/a") + library + " --model " + model()), 2, "--replace");
  const auto listed = run("library list --json" + library);
  EXPECT_EQ(std::count(listed.output.begin(), listed.output.end(), '\n'), 2);
  EXPECT_EQ(json::parse(listed.output.substr(0, listed.output.find('\n'))).at("name"), "a");
  EXPECT_EQ(run("library verify" + library).status, 0);
  EXPECT_EQ(run("library diff a b" + library).status, 0);
  ASSERT_EQ(run("library export b" + library + " --output " + (folder_ / "exported").string()).status, 0);

  // The expert in the library, the adapter it came from and the one exported compute the same.
  ASSERT_EQ(run(forward("--dtype float32 --route expert:b" + library)).status, 0);
  const auto from_library = tensor_io::open_safetensors(folder_ / "out.safetensors")->load("logits.1").clone();
  for (const auto& adapter : {golden("adapters/b"), (folder_ / "exported").string()}) {
    ASSERT_EQ(run(forward("--dtype float32 --adapter " + adapter)).status, 0);
    EXPECT_TRUE(tensor_io::open_safetensors(folder_ / "out.safetensors")->load("logits.1").equal(from_library))
        << adapter;
  }
  EXPECT_EQ(run(forward("--route arrow:top_k=1" + library)).status, 0);
  EXPECT_EQ(run("prepare --model " + model() + library).status, 0);
  EXPECT_EQ(json::parse(run("cluster --clusters 2 --json" + library).output).at("clusters").size(), 2u);
  EXPECT_EQ(run("library remove a b" + library).status, 0);
  expect_error(run("library show a" + library), 2, "not in");
}

TEST_F(CommandLine, AnotherBaseModelIsRefusedUnlessTheUserSaysSo) {
  const auto library = " --library " + (folder_ / "library").string();
  ASSERT_EQ(run("library add " + golden("adapters/a") + library + " --model " + model()).status, 0);
  fs::copy(model(), folder_ / "other");
  auto bytes = read_file(folder_ / "other/model.safetensors");
  bytes[bytes.size() - 2] ^= 1;
  write_file_atomically(folder_ / "other/model.safetensors", bytes);
  const auto other = "forward --model " + (folder_ / "other").string() + " --ids " + (folder_ / "ids.json").string() +
                     " --output " + (folder_ / "out.safetensors").string() + " --route expert:a" + library;
  expect_error(run(other), 1, "--allow-other-base");
  EXPECT_EQ(run(other + " --allow-other-base").status, 0);
}

TEST_F(CommandLine, AdaptersThatQuiverCannotHonourAreRefusedByName) {
  const auto expect_refused = [&](const std::string& adapter, const std::string& part) {
    expect_error(run(forward("--adapter " + adapter)), 1, part);
  };
  const auto key = [](const char* name, json value) { return [name, value](json& config) { config[name] = value; }; };
  expect_refused(changed_adapter(key("use_dora", true)), "'use_dora'");
  expect_refused(changed_adapter(key("bias", "some")), "'bias'");
  expect_refused(changed_adapter(key("bias", "all"),
                                 [](auto& tensors) {
                                   tensors["base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias"] =
                                       at::ones({32});
                                 }),
                 "q_proj': a trained bias of 32 numbers, the base model's has 0");
  expect_refused(changed_adapter(key("modules_to_save", {"lm_head"})), "'modules_to_save'");
  expect_refused(changed_adapter(key("init_lora_weights", "pissa")), "'init_lora_weights'");
  expect_refused(changed_adapter(key("some_new_key", 3)), "'some_new_key'");
  expect_refused(changed_adapter(key("peft_type", "ADALORA")), "lora_E");
  expect_refused(changed_adapter(key("peft_type", "IA3")), "of no kind");
  expect_refused(changed_adapter(key("r", 3)), "the configuration says 3");
  expect_refused(changed_adapter(key("r", -1)), "expected a rank");
  expect_refused(changed_adapter(key("lora_alpha", "big")), "'lora_alpha'");
  expect_refused(changed_adapter(key("rank_pattern", {{"(", 2}})), "does not compile");

  const std::string site = "base_model.model.model.layers.0.self_attn.q_proj";
  expect_refused(changed_adapter(nullptr, [&](auto& t) { t.erase(site + ".lora_A.weight"); }), "not lora_A");
  expect_refused(changed_adapter(nullptr, [&](auto& t) { t["base_model.model.lm_head.weight"] = at::zeros({2}); }),
                 "lm_head");
  expect_refused(changed_adapter(nullptr, [&](auto& t) { t[site + ".lora_A.weight"] = at::zeros({2, 5}); }), "q_proj");
  expect_refused(changed_adapter(nullptr,
                                 [&](auto& t) {
                                   t["base_model.model.model.layers.7.mlp.up_proj.lora_A.weight"] = at::zeros({2, 32});
                                   t["base_model.model.model.layers.7.mlp.up_proj.lora_B.weight"] = at::zeros({48, 2});
                                 }),
                 "layers.7.mlp.up_proj");
  expect_refused(changed_adapter(nullptr, [&](auto& t) { t.clear(); }), "no tensors");
}

TEST_F(CommandLine, DamagedFilesGiveOneLine) {
  const auto adapter = changed_adapter(nullptr);
  const auto weights = fs::path(adapter) / "adapter_model.safetensors";
  const auto whole = read_file(weights);
  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, std::size_t{40}, whole.size() - 1}) {
    write_file_atomically(weights, whole.substr(0, size));
    const auto outcome = run(forward("--adapter " + adapter));
    EXPECT_EQ(outcome.status, 1);
    EXPECT_EQ(std::count(outcome.errors.begin(), outcome.errors.end(), '\n'), 1) << outcome.errors;
  }
  write_file_atomically(fs::path(adapter) / "adapter_config.json", "{\"r\": ");
  expect_error(run(forward("--adapter " + adapter)), 1, "expected a JSON object");
  write_file_atomically(folder_ / "ids.json", "[[1, 2], []]");
  expect_error(run(forward("")), 1, "expected a JSON list of lists");
  write_file_atomically(folder_ / "ids.json", "[[1, 96]]");
  expect_error(run(forward("")), 1, "outside the vocabulary");
  write_file_atomically(folder_ / "library/library.json", "{\"format\": 7}");
  expect_error(run("library list --library " + (folder_ / "library").string()), 1, "'format'");
  expect_error(run("library list --library " + (folder_ / "nothing").string()), 1, "no library.json");
  expect_error(run("info --model " + (folder_ / "nothing").string()), 1, "no such file");
}

TEST_F(CommandLine, ForwardReadsWhatIsBeforeThePrompt) {
  const auto rows = tensor_io::open_safetensors(golden("llama_untied/golden.safetensors"));
  const auto ids = rows->load("ids.0").to(at::kLong).contiguous();
  json list = json::array();
  for (std::int64_t i = 0; i < ids.numel(); ++i) list.push_back(ids.const_data_ptr<std::int64_t>()[i]);
  write_file_atomically(folder_ / "ids.json", json::array({list}).dump());
  const auto expected = tensor_io::open_safetensors(golden("kinds/golden.safetensors"));
  for (const std::string kind : {"prompt", "prefix", "mpt"}) {
    const auto outcome = run(forward("--dtype float32 --threads 1 --adapter " + golden("kinds/" + kind)));
    ASSERT_EQ(outcome.status, 0) << outcome.errors;
    const auto got = tensor_io::open_safetensors(folder_ / "out.safetensors")->load("logits.0");
    const auto logits = expected->load(kind + ".logits.0");
    ASSERT_EQ(got.sizes(), logits.sizes()) << kind;
    EXPECT_LT((got - logits).abs().max().item<double>(), 1e-3) << kind;
  }
}

}  // namespace
}  // namespace quiver
