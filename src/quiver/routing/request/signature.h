// SPDX-License-Identifier: Apache-2.0
// Signatures: what the prompts that an expert was trained on look like to the base model. With them the expert that
// fits a prompt is known before its first token is routed.
//
// The features of a prompt are the means over its tokens of the normed hidden states that the attention of three middle
// layers reads, side by side (of one layer where three would be wider than 4,096). A signature holds those of some of
// the expert's training prompts.
//
//   derived/signature/EXPERT-IDENTITY.safetensors    "features" float16 [N, F]; made_with: a hash of the prompts
#pragma once

#include <ATen/core/Tensor.h>

#include "quiver/model/model.h"
#include "quiver/routing/expert_files.h"

namespace quiver::routing {

/// Training prompts that a signature is made of.
inline constexpr std::int64_t kSignatureRows = 64;

/// float32 [N, F] of N prompts, none empty.
at::Tensor prompt_features(const model::Model& model, const std::vector<std::vector<std::int32_t>>& prompts);

/// Which `count` of `all` prompts: spread evenly over them; all where there are fewer.
std::vector<std::size_t> signature_rows(std::size_t all, std::size_t count);

/// made_from(prompts) is what one is made with.
inline const DerivedKind kSignatures{"signature"};

/// Computes and keeps the signature of an expert whose factors have this identity.
void write_signature(const library::Library& library, const std::string& expert, const std::string& identity,
                     const model::Model& model, const std::vector<std::vector<std::int32_t>>& prompts);
/// float32 [N_e, F] of each expert of the bank. Throws Error{usage} that says how to prepare them where one is missing.
std::vector<at::Tensor> read_signatures(const RouterInputs& inputs, const std::string& route);
/// The numbers of the bank's experts that have none.
std::vector<std::size_t> experts_without_signature(const RouterInputs& inputs);

}  // namespace quiver::routing
