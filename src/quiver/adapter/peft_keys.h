// SPDX-License-Identifier: Apache-2.0
// PEFT's files, and the keys of their tensors, `base_model.model.MODULE.PART[.NAME][.weight]`, as PEFT itself saves
// them: without the adapter's NAME, which checkpoints of training loops keep (`.lora_A.default.weight`), and without
// the wrappers of torch.compile in MODULE (`_orig_mod.`).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "quiver/base/files.h"
#include "quiver/tensor_io/tensor_source.h"

namespace quiver::adapter {

inline constexpr std::string_view kKeyPrefix = "base_model.model.";

/// DoRA's lengths of rows.
inline constexpr const char* kMagnitude = ".lora_magnitude_vector";
/// A bias of the base model's that was trained with the adapter, whole: after the module's path, PEFT's key of one
/// beside factors.
inline constexpr const char* kTrainedBias = ".base_layer.bias";

inline constexpr const char* kPeftWeightsFile = "adapter_model.safetensors";
inline constexpr const char* kPeftPickledFile = "adapter_model.bin";
inline constexpr const char* kPeftConfigFile = "adapter_config.json";

/// The file of an adapter's tensors: safetensors where there is one, else that of torch.save. Throws Error{not_found}.
fs::path peft_weights(const fs::path& folder);
/// The reader of pickles takes tensors and containers alone and runs nothing.
std::shared_ptr<tensor_io::TensorSource> open_peft_weights(const fs::path& weights);

/// Keys in the file by plain keys. Throws Error{unsupported} where the file holds adapters of two names, Error{format}
/// where two keys become one.
std::map<std::string, std::string> peft_keys(const std::map<std::string, tensor_io::TensorInfo>& tensors,
                                             const std::string& where);

}  // namespace quiver::adapter
