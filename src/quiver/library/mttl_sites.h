// SPDX-License-Identifier: Apache-2.0
// The parameters of an MTTL expert as sites of the Hugging Face model, and back.
//
// MTTL's y += s (x lora_a) lora_b has lora_a [in, R] and lora_b [R, out], both transposed with respect to A [R, in] and
// B [out, R]. Its module paths are those of the wrapped model, so they become:
//   layers.N.X                       model.layers.N.X (and `model.model.` loses one)
//   transformer.h.N.mixer|mlp.X      model.layers.N.X: Phi before its Hugging Face port, where also
//   layers.N.X of an expert that has a `mixer`   model.layers.(N-1).X, since layer 0 is the embedding there, and
//   X = mixer.Wqkv                   self_attn.{q,k,v}_proj: one A for the three, a third of lora_b's columns each
//   X = mixer.out_proj               self_attn.dense
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "quiver/ops/apply_experts.h"

namespace quiver::library {

/// Adds the tied parameters that the file leaves out. `tie_params` is MTTL's: alternatives of parameter names
/// (`q_proj.lora_a|k_proj.lora_a`), of which the first that a module has stands for all of the same parent; `.*` and
/// `\` in it mean nothing, as in MTTL. Throws Error{mismatch} where tied parameters differ.
void add_tied_parameters(std::map<std::string, at::Tensor>& parameters, const std::string& tie_params,
                         const std::string& where);

/// Factors in float32, their scale 1. Throws Error{format|mismatch|unsupported} naming the parameter.
std::map<std::string, ops::LoraFactors> sites_of_parameters(const std::map<std::string, at::Tensor>& parameters,
                                                            const std::string& where);

}  // namespace quiver::library
