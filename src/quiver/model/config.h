// SPDX-License-Identifier: Apache-2.0
// The shape of a decoder-only model: what the blocks need to know, whatever the family it came from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quiver::model {

/// How angles are stretched for long contexts.
struct RotaryScaling {
  enum class Kind { none, linear, llama3 };
  Kind kind = Kind::none;
  double factor = 1.0;
  double low_frequency_factor = 1.0;   ///< llama3
  double high_frequency_factor = 4.0;  ///< llama3
  double original_positions = 8192;    ///< llama3: context length of pre-training, in tokens
  std::vector<float> divisors;         ///< given per frequency (GGUF's rope_freqs); replaces the rest where not empty
};

struct DecoderConfig {
  std::string architecture;  ///< as in config.json, e.g. "LlamaForCausalLM"
  std::int64_t vocabulary = 0;
  std::int64_t hidden = 0;  ///< D
  std::int64_t layers = 0;
  std::int64_t heads = 0;          ///< H
  std::int64_t kv_heads = 0;       ///< K, divides H
  std::int64_t head_width = 0;     ///< per head; H * head_width may differ from D
  std::int64_t feed_forward = 0;   ///< width inside the MLP
  std::int64_t max_positions = 0;  ///< context length, in tokens
  double norm_epsilon = 1e-5;
  double rotary_base = 10000.0;
  RotaryScaling rotary_scaling;
  bool tied_head = false;
  bool attention_bias = false;
  bool mlp_bias = false;
};

/// Throws Error{format} naming the field where a size is absurd or does not fit the others.
void check(const DecoderConfig& config, const std::string& where);

}  // namespace quiver::model
