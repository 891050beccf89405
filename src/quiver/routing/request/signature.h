// SPDX-License-Identifier: Apache-2.0
// Signatures: what the prompts that an expert was trained on look like to the base model. With them the expert that
// fits a prompt is known before its first token is routed.
//
// The features of a prompt are the means over its tokens of the normed hidden states that the attention of three middle
// layers reads, side by side (of one layer where three would be wider than 4,096). A signature holds those of some of
// the expert's training prompts.
//
//   derived/signature/EXPERT-IDENTITY.safetensors    "features" float16 [N, F]; metadata "made_with": the options
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "quiver/adapter/bank.h"
#include "quiver/library/library.h"
#include "quiver/model/model.h"

namespace quiver::routing {

/// Training prompts that a signature is made of.
inline constexpr std::int64_t kSignatureRows = 64;

/// float32 [N, F] of N prompts, none empty.
at::Tensor prompt_features(const model::Model& model, const std::vector<std::vector<std::int32_t>>& prompts);

/// Numbers of the bank's experts that have none, or, where options are given, none that was made with them.
std::vector<std::size_t> experts_without_signature(const library::Library& library, const adapter::Bank& bank,
                                                   const std::optional<std::string>& options = {});
void write_signature(const library::Library& library, const std::string& expert, const at::Tensor& features,
                     const std::string& options = "");
/// float32 [N_e, F] of each expert of the bank. Throws Error{usage} that says how to prepare them where one is missing.
std::vector<at::Tensor> read_signatures(const library::Library& library, const adapter::Bank& bank,
                                        const std::string& route);

}  // namespace quiver::routing
