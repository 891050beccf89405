// SPDX-License-Identifier: Apache-2.0
// PEFT folders: adapter_config.json and adapter_model.safetensors.
//
// Reading is fail-closed: the tensors are the authority for sites and ranks, each must be half of a pair, each pair
// must agree with what the configuration says of its rank, and every configuration key with a meaning that is not
// implemented is an error that names it. Adapters of other kinds are quiver_files.h's. Keys are `base_model.model.` +
// Hugging Face module path + `.lora_A.weight` / `.lora_B.weight` (peft_keys.h). AdaLoRA is read as the LoRA that it
// computes; a bias of B becomes one of the site, times the scale.
#pragma once

#include <string>

#include "quiver/adapter/adapter.h"
#include "quiver/base/files.h"

namespace quiver::adapter {

/// Throws Error{not_found|format|unsupported|mismatch}.
Adapter read_peft(const fs::path& folder);

/// Writes both files into `folder`, which exists. Factors are stored as float32.
void write_peft(const fs::path& folder, const Adapter& adapter, const std::string& base_model);

/// SHA-256 over site names, shapes, scales and factor bytes: the adapter's identity, whatever file it came from.
std::string identity(const Adapter& adapter);

}  // namespace quiver::adapter
