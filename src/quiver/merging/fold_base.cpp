// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/fold_base.h"

#include <ATen/ops/addmm.h>
#include <c10/core/GradMode.h>

#include <nlohmann/json.hpp>
#include <set>

#include "quiver/base/error.h"
#include "quiver/base/output_folder.h"
#include "quiver/base/strings.h"
#include "quiver/tensor_io/gguf.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/weights_folder.h"

namespace quiver::merging {
namespace {

constexpr const char* kWholeFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

/// The files that the loader reads, once it has found the folder in order.
std::set<std::string> shards_of(const fs::path& base) {
  if (fs::exists(base / kWholeFile)) return {kWholeFile};
  QUIVER_CHECK(fs::exists(base / kIndexFile), unsupported, base.string(),
               "weights that are not safetensors, expected {} or {}", kWholeFile, kIndexFile);
  std::set<std::string> out;
  const auto index = nlohmann::json::parse(read_file(base / kIndexFile));
  for (const auto& [name, shard] : index.at("weight_map").items()) out.insert(shard.get<std::string>());
  return out;
}

void check_sites(const tensor_io::TensorSource& weights, const adapter::Adapter& adapter, const std::string& where) {
  for (const auto& [site, f] : adapter.sites) {
    const auto found = weights.tensors().find(site + ".weight");
    QUIVER_CHECK(found != weights.tensors().end(), mismatch, where, "the adapter's site '{}' has no '{}.weight' in it",
                 site, site);
    const auto& info = found->second;
    QUIVER_CHECK((info.shape == std::vector<std::int64_t>{f.b.size(0), f.a.size(1)}), mismatch, where,
                 "'{}.weight' is {}, the adapter's site is [{},{}]", site, nlohmann::json(info.shape).dump(),
                 f.b.size(0), f.a.size(1));
    const auto& dtype = info.stored_dtype;
    QUIVER_CHECK(dtype == "F32" || dtype == "F16" || dtype == "BF16", unsupported, where,
                 "'{}.weight' is {}, expected F32, F16 or BF16", site, dtype);
  }
}

at::Tensor folded_weight(const at::Tensor& weight, const ops::LoraFactors& f) {
  return at::addmm(weight.to(at::kFloat), f.b.detach().to(at::kFloat), f.a.detach().to(at::kFloat), 1.0, f.scale)
      .to(weight.scalar_type());
}

void write_shard(const fs::path& from, const fs::path& to, const adapter::Adapter& adapter) {
  const c10::AutoGradMode no_gradient(false);
  const auto file = tensor_io::open_safetensors(from);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, info] : file->tensors()) {
    tensors[name] = file->load(name);
    constexpr std::string_view kWeight = ".weight";
    if (!name.ends_with(kWeight)) continue;
    const auto site = adapter.sites.find(name.substr(0, name.size() - kWeight.size()));
    if (site != adapter.sites.end()) tensors[name] = folded_weight(tensors[name], site->second);
  }
  tensor_io::write_safetensors(to, tensors, tensor_io::safetensors_metadata(from));
}

bool holds_weights(const fs::path& file) {
  static const std::set<std::string> suffixes{".safetensors", ".bin",  ".pt",      ".pth",  ".ckpt",
                                              ".h5",          ".gguf", ".msgpack", ".onnx", ".ot"};
  return suffixes.contains(file.extension().string());
}

}  // namespace

void fold_into_base(const fs::path& base, const adapter::Adapter& adapter, const fs::path& output) {
  QUIVER_CHECK(fs::is_directory(base) && fs::exists(base / "config.json"), usage, base.string(),
               "an adapter is folded into a Hugging Face folder of safetensors, and this is {}",
               tensor_io::is_gguf(base) ? "a GGUF file, whose quantised weights would lose it"
                                        : "not one: it has no config.json");
  const OutputFolder free{.path = output, .files = model_files(), .inputs = {base}};
  check_output(free);
  check_sites(*tensor_io::open_weights_folder(base), adapter, base.string());
  write_output(free, [&](const fs::path& folder) {
    for (const auto& entry : fs::directory_iterator(base)) {
      const bool index = entry.path().filename() == kIndexFile;
      if (entry.is_regular_file() && !holds_weights(entry.path()) && !(index && fs::exists(base / kWholeFile)))
        fs::copy_file(entry.path(), folder / entry.path().filename());
    }
    for (const auto& shard : shards_of(base)) write_shard(base / shard, folder / shard, adapter);
  });
}

}  // namespace quiver::merging
