// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/peft_keys.h"

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/torch_archive.h"

namespace quiver::adapter {
namespace {

/// Parts of a site that PEFT keeps by the adapter's name.
constexpr std::string_view kParts[] = {"lora_A", "lora_B",        "lora_E",        "lora_magnitude_vector",
                                       "ia3_l",  "vera_lambda_b", "vera_lambda_d", "ln_tuning_layers",
                                       "ranknum"};

struct Plain {
  std::string key, name;
};

Plain plain_key(std::string key) {
  replace_all(key, "_orig_mod.", "");
  for (const auto part : kParts) {
    const auto at = key.rfind("." + std::string(part) + ".");
    if (at == std::string::npos) continue;
    const auto begin = at + part.size() + 2;  // what follows the part: NAME, NAME.PARAMETER or PARAMETER
    auto rest = key.substr(begin);
    const auto dot = rest.find('.');
    const auto last = rest.substr(dot == std::string::npos ? 0 : dot + 1);
    const bool parameter = last == "weight" || (last == "bias" && part == "lora_B");
    if (dot != std::string::npos && !parameter) return {key, ""};
    const auto name = dot == std::string::npos && parameter ? "" : rest.substr(0, dot);
    // PEFT saves the magnitudes, which are a module of their own, without its parameter's name.
    const bool keeps = parameter && part != "lora_magnitude_vector";
    return {key.substr(0, begin - 1) + (keeps ? "." + last : ""), name};
  }
  return {key, ""};
}

}  // namespace

fs::path peft_weights(const fs::path& folder) {
  for (const auto* name : {kPeftWeightsFile, kPeftPickledFile}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  fail(ErrorCode::not_found, folder.string(), "no {} in it, so it is not a PEFT adapter", kPeftWeightsFile);
}

std::shared_ptr<tensor_io::TensorSource> open_peft_weights(const fs::path& weights) {
  return weights.filename() == kPeftPickledFile ? tensor_io::open_torch_tensors(weights)
                                                : tensor_io::open_safetensors(weights);
}

std::map<std::string, std::string> peft_keys(const std::map<std::string, tensor_io::TensorInfo>& tensors,
                                             const std::string& where) {
  std::map<std::string, std::string> out;
  std::string known;
  for (const auto& [key, info] : tensors) {
    auto [plain, name] = plain_key(key);
    QUIVER_CHECK(name.empty() || known.empty() || name == known, unsupported, where,
                 "it holds two adapters, '{}' and '{}'; save each in a folder of its own", known, name);
    if (!name.empty()) known = name;
    const auto [place, is_new] = out.emplace(plain, key);
    QUIVER_CHECK(is_new, format, where, "tensors '{}' and '{}' are the same part of one site", place->second, key);
  }
  return out;
}

}  // namespace quiver::adapter
