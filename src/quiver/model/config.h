// SPDX-License-Identifier: Apache-2.0
// The shape of a model: what its blocks need to know, whatever the family it came from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace quiver::model {

/// How angles are stretched for long contexts.
struct RotaryScaling {
  enum class Kind { none, linear, llama3, yarn };
  Kind kind = Kind::none;
  double factor = 1.0;
  double low_frequency_factor = 1.0;   ///< llama3
  double high_frequency_factor = 4.0;  ///< llama3
  double original_positions = 8192;    ///< llama3, yarn: context length of pre-training, in tokens
  double beta_fast = 32.0;             ///< yarn: from so many turns within it on a frequency stays
  double beta_slow = 1.0;              ///< yarn: up to so many turns within it a frequency is divided
  bool whole_bounds = true;            ///< yarn: between the two, whole numbers of frequencies
  double scale = 1.0;                  ///< of cosines and sines
  std::vector<float> divisors;         ///< given per frequency (GGUF's rope_freqs), beside `factor`; may be empty
};

/// What any model says of itself.
struct ModelConfig {
  std::string architecture;  ///< as in config.json, e.g. "LlamaForCausalLM"
  std::int64_t vocabulary = 0;
  std::int64_t hidden = 0;         ///< D
  std::int64_t layers = 0;         ///< of both stacks in an encoder-decoder, whose encoder comes first
  std::int64_t heads = 0;          ///< H
  std::int64_t head_width = 0;     ///< per head; H * head_width may differ from D
  std::int64_t feed_forward = 0;   ///< width inside the MLP
  std::int64_t max_positions = 0;  ///< context length, in tokens
  double norm_epsilon = 1e-5;
  bool tied_head = false;
  /// Above 0: an encoder-decoder, whose first layers read prompts whole while the others write answers. 0: one stack
  /// reads and writes.
  std::int64_t encoder_layers = 0;
  std::int32_t answer_start = -1;  ///< encoder-decoders: the token that every answer begins with, not part of it

  bool encoder_decoder() const { return encoder_layers > 0; }
  /// Layers that a prompt passes through.
  std::int64_t prompt_layers() const { return encoder_decoder() ? encoder_layers : layers; }
  /// Layers of the stack that writes answers.
  std::int64_t answer_layers() const { return layers - encoder_layers; }
};

struct DecoderConfig : ModelConfig {
  std::int64_t kv_heads = 0;  ///< K, divides H
  double rotary_base = 10000.0;
  RotaryScaling rotary_scaling;
  bool attention_bias = false;
  bool mlp_bias = false;
};

struct EncoderDecoderConfig : ModelConfig {
  enum class Activation { relu, gelu, gelu_tanh, silu };
  Activation activation = Activation::relu;
  bool gated = false;               ///< activation(W_0 x) * W_1 x in the MLP
  std::int64_t buckets = 32;        ///< of relative positions
  std::int64_t max_distance = 128;  ///< from here on, in tokens, all share the last bucket
  bool scaled_output = false;       ///< final states are multiplied by D^-1/2 before the head
};

/// Throws Error{format} naming the field where a size is absurd or does not fit the others.
void check(const DecoderConfig& config, const std::string& where);
void check(const EncoderDecoderConfig& config, const std::string& where);

}  // namespace quiver::model
