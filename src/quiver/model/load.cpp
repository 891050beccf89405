// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/load.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/kernels/isa.h"
#include "quiver/model/families/llama.h"
#include "quiver/model/families/t5.h"
#include "quiver/tensor_io/gguf.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::model {
namespace {

fs::path hub_cache() {
  if (const char* cache = std::getenv("HF_HUB_CACHE"); cache && *cache) return cache;
  if (const char* home = std::getenv("HF_HOME"); home && *home) return fs::path(home) / "hub";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : ".") / ".cache" / "huggingface" / "hub";
}

/// The snapshot that refs/main names of a cached hub repository, or "".
fs::path hub_snapshot(const std::string& id) {
  std::string folder = "models--" + id;
  for (std::size_t at; (at = folder.find('/')) != std::string::npos;) folder.replace(at, 1, "--");
  const auto reference = hub_cache() / folder / "refs" / "main";
  if (!fs::exists(reference)) return {};
  auto revision = read_file(reference, 256);
  while (!revision.empty() && std::isspace(static_cast<unsigned char>(revision.back()))) revision.pop_back();
  const auto snapshot = hub_cache() / folder / "snapshots" / fs::path(revision).filename();
  return fs::exists(snapshot) ? snapshot : fs::path();
}

LanguageModel load_folder(const fs::path& folder, at::ScalarType dtype) {
  const auto config_path = folder / "config.json";
  const auto config = nlohmann::json::parse(read_file(config_path, 1 << 24), nullptr, false);
  QUIVER_CHECK(config.is_object(), format, config_path.string(), "expected a JSON object");
  architecture_of(config, config_path.string());
  WeightReader reader(tensor_io::open_safetensors_folder(folder), dtype);
  return load_architecture(config, reader, config_path.string());
}

LanguageModel load_gguf(const fs::path& path, at::ScalarType dtype) {
  const auto file = tensor_io::GgufFile::open(path);
  auto decoder = llama::config_of_gguf(*file, path.string());
  if (file->tensors().contains("rope_freqs.weight")) {
    const auto divisors = file->load("rope_freqs.weight").to(at::kFloat).contiguous();
    decoder.rotary_scaling.divisors.assign(divisors.const_data_ptr<float>(),
                                           divisors.const_data_ptr<float>() + divisors.numel());
  }
  WeightReader reader(file, dtype, llama::gguf_name, [&decoder](const std::string& name, at::Tensor tensor) {
    return llama::from_gguf_layout(decoder, name, std::move(tensor));
  });
  reader.ignore("rope_freqs.weight");
  return llama::load(decoder, reader, path.string());
}

}  // namespace

std::string architecture_of(const nlohmann::json& config, const std::string& where) {
  const auto names = config.value("architectures", nlohmann::json::array());
  const auto name = names.is_array() && !names.empty() && names[0].is_string() ? names[0].get<std::string>() : "";
  QUIVER_CHECK(name == "LlamaForCausalLM" || t5::is_architecture(name), unsupported, where,
               "architecture '{}', known: LlamaForCausalLM, T5ForConditionalGeneration, MT5ForConditionalGeneration",
               name);
  return name;
}

LanguageModel load_architecture(const nlohmann::json& config, WeightReader& reader, const std::string& where) {
  if (t5::is_architecture(architecture_of(config, where)))
    return t5::load(t5::config_of_json(config, where), reader, where);
  const auto decoder = llama::config_of_json(config, where);
  for (std::int64_t i = 0; i < decoder.layers; ++i) {
    // Old checkpoints carry the frequencies, which follow from the configuration.
    reader.ignore(fmt::format("model.layers.{}.self_attn.rotary_emb.inv_freq", i));
  }
  if (decoder.tied_head) reader.ignore("lm_head.weight");
  return llama::load(decoder, reader, where);
}

fs::path resolve_model(const std::string& name) {
  if (fs::exists(name)) return name;
  if (name == "smollm2") {
    const auto path = cache_folder() / "smollm2.gguf";
    QUIVER_CHECK(fs::exists(path), not_found, "--model smollm2",
                 "the default model is not at {}; './dev setup' fetches it", path.string());
    return path;
  }
  const auto snapshot = hub_snapshot(name);
  QUIVER_CHECK(
      !snapshot.empty(), not_found, "--model " + name,
      "no such file or folder, not 'smollm2', and no snapshot of that hub id in {}; fetch it with 'hf download {}'",
      hub_cache().string(), name);
  return snapshot;
}

LanguageModel load_model(const fs::path& path, at::ScalarType dtype) {
  return fs::is_directory(path) ? load_folder(path, dtype) : load_gguf(path, dtype);
}

at::ScalarType default_dtype() { return kernels::multiplies_bfloat16() ? at::kBFloat16 : at::kFloat; }

at::ScalarType dtype_of_name(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "auto") return default_dtype();
  fail(ErrorCode::usage, "--dtype", "'{}', expected float32, bfloat16 or auto", name);
}

std::string dtype_name(at::ScalarType dtype) { return dtype == at::kBFloat16 ? "bfloat16" : "float32"; }

}  // namespace quiver::model
