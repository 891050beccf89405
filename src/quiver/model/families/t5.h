// SPDX-License-Identifier: Apache-2.0
// The T5 family: v1.0 (ReLU, tied head), v1.1 and Flan (gated GELU, head of its own), mT5.
//
// Sites are the linear maps under their Hugging Face names: q, k, v, o of `encoder.block.I.layer.0.SelfAttention`,
// `decoder.block.I.layer.0.SelfAttention` and `decoder.block.I.layer.1.EncDecAttention`; wi (or wi_0, wi_1) and wo of
// `...DenseReluDense`. Their layers are numbered through, the encoder's first.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "quiver/model/encoder_decoder.h"
#include "quiver/model/model.h"
#include "quiver/model/weight_reader.h"

namespace quiver::model::t5 {

/// Throws Error{format} on missing or ill-typed fields and Error{unsupported} on variants that are not implemented.
EncoderDecoderConfig config_of_json(const nlohmann::json& config, const std::string& where);
/// Takes every weight of the model from `reader`. The head is tied where the file has none.
Model load(const nlohmann::json& config, WeightReader& reader, const std::string& where);

/// Weights to start pre-training from, by name: normal, of standard deviation 1 for the embedding, (D W)^-1/2 for q,
/// D^-1/2 for k, v and wi, (H W)^-1/2 for o, F^-1/2 for wo and D^-1/2 for relative biases; norms 1 (Raffel et al.,
/// 2020).
std::map<std::string, at::Tensor> random_weights(const nlohmann::json& config, std::uint64_t seed);

}  // namespace quiver::model::t5
