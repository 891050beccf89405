// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/quantised.h"

#include <nlohmann/json.hpp>

#include "quiver/base/error.h"

namespace quiver::model {
namespace {

/// The method that the configuration names; "": none.
std::string method_of(const nlohmann::json& config) {
  for (const auto* key : {"quantization_config", "compression_config"}) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null() || found->empty()) continue;
    const auto method = found->is_object() ? found->value("quant_method", nlohmann::json()) : nlohmann::json();
    if (method.is_string()) return method.get<std::string>();
    return found->is_object() && (found->contains("load_in_8bit") || found->contains("load_in_4bit")) ? "bitsandbytes"
                                                                                                      : key;
  }
  return "";
}

/// The method whose tensors are called so; "": none.
std::string method_of(const std::string& tensor) {
  static constexpr std::pair<const char*, const char*> kEndings[] = {
      {".qweight", "GPTQ or AWQ"},
      {".qzeros", "GPTQ or AWQ"},
      {".SCB", "bitsandbytes"},
      {".absmax", "bitsandbytes"},
      {".quant_map", "bitsandbytes"},
      {".weight_packed", "compressed-tensors"},
      {".weight_scale", "compressed-tensors or FP8"},
      {".weight_scale_inv", "FP8"},
      {".weight_zero_point", "compressed-tensors"},
      {".input_scale", "compressed-tensors or FP8"},
  };
  for (const auto& [ending, method] : kEndings) {
    if (tensor.ends_with(ending)) return method;
  }
  return "";
}

}  // namespace

void refuse_quantised(const nlohmann::json& config, const tensor_io::TensorSource& weights, const std::string& where) {
  constexpr const char* kRemedy = "take the model that it was made from, or a GGUF file";
  const auto method = method_of(config);
  QUIVER_CHECK(method.empty(), unsupported, where, "quantised by {}, expected plain weights: {}", method, kRemedy);
  for (const auto& [name, info] : weights.tensors()) {
    const auto by = method_of(name);
    QUIVER_CHECK(by.empty(), unsupported, where, "quantised by {} (tensor '{}'), expected plain weights: {}", by, name,
                 kRemedy);
  }
}

}  // namespace quiver::model
