// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/load.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "quiver/base/error.h"
#include "quiver/kernels/isa.h"
#include "quiver/model/families/table.h"
#include "quiver/model/quantised.h"
#include "quiver/tensor_io/gguf.h"
#include "quiver/tensor_io/weights_folder.h"

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

/// The model of a folder that holds GGUF files and no config.json: its one file, or the first of its parts.
std::optional<fs::path> gguf_in(const fs::path& folder) {
  if (fs::exists(folder / "config.json")) return std::nullopt;
  std::set<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!tensor_io::is_gguf(entry.path())) continue;
    const auto part = tensor_io::gguf_part_of_name(entry.path());
    if (!part || part->number == 0) found.insert(entry.path());
  }
  if (found.empty()) return std::nullopt;
  QUIVER_CHECK(found.size() == 1, usage, folder.string(), "{} GGUF models in it, name one of them: {}", found.size(),
               found.begin()->filename().string());
  return *found.begin();
}

Model load_folder(const fs::path& path, at::ScalarType dtype) {
  const auto folder = open_model_folder(path);
  WeightReader reader(folder.weights, dtype);
  return family_of(folder.config, folder.where).load(folder.config, reader, folder.where);
}

Model load_gguf(const fs::path& path, at::ScalarType dtype) {
  const auto file = tensor_io::GgufFile::open(path);
  return family_of_gguf(*file, path.string()).load_gguf(file, dtype, path.string());
}

}  // namespace

ModelFolder open_model_folder(const fs::path& folder) {
  const auto path = folder / "config.json";
  auto config = nlohmann::json::parse(read_file(path, 1 << 24), nullptr, false);
  QUIVER_CHECK(config.is_object(), format, path.string(), "expected a JSON object");
  family_of(config, path.string());
  ModelFolder out{std::move(config), path.string(), tensor_io::open_weights_folder(folder)};
  refuse_quantised(out.config, *out.weights, out.where);
  return out;
}

fs::path resolve_model(const std::string& name) {
  if (fs::is_directory(name)) return gguf_in(name).value_or(name);
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
  return gguf_in(snapshot).value_or(snapshot);
}

Model load_model(const fs::path& path, at::ScalarType dtype) {
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
