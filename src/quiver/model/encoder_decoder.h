// SPDX-License-Identifier: Apache-2.0
// An encoder-decoder network of T5's kind (Raffel et al., 2020): pre-norm stacks, relative positions, attention without
// scaling.
//
// Prompts are read whole by the encoder. Where they have caches, the keys and values of each decoder layer's
// cross-attention are computed there and then, once for all answers; experts at those sites see the prompt's tokens.
// Answers, which begin with config().answer_start, run through the decoder, causally.
#pragma once

#include "quiver/model/linear.h"
#include "quiver/model/network.h"
#include "quiver/model/norm.h"
#include "quiver/model/relative_positions.h"

namespace quiver::model {

struct SelfAttention {
  RmsNorm norm;
  Linear query_key_value;  ///< [3 H W, D]
  Linear output;           ///< [D, H W]
};

struct CrossAttention {
  RmsNorm norm;
  Linear query;      ///< [H W, D]
  Linear key_value;  ///< [2 H W, D], of the encoder's states
  Linear output;     ///< [D, H W]
};

struct FeedForward {
  RmsNorm norm;
  Linear in;   ///< [F, D], or gated [2 F, D]: what is activated, then what it gates
  Linear out;  ///< [D, F]
};

class EncoderDecoder : public Network {
 public:
  struct EncoderLayer {
    SelfAttention attention;
    FeedForward mlp;
  };
  struct DecoderLayer {
    SelfAttention attention;
    CrossAttention cross;
    FeedForward mlp;
  };
  struct Weights {
    at::Tensor embedding;  ///< [V, D]
    std::vector<EncoderLayer> encoder;
    std::vector<DecoderLayer> decoder;
    RmsNorm encoder_norm, decoder_norm;
    at::Tensor encoder_bias, decoder_bias;  ///< [buckets, H]
    at::Tensor head;                        ///< [V, D]; the embedding itself where tied
  };
  EncoderDecoder(EncoderDecoderConfig config, Weights weights);

  const ModelConfig& config() const override { return config_; }
  /// Activations::recompute reaches the encoder; the decoder's activations are kept.
  at::Tensor forward(const PackedBatch& batch, ExpertSource* experts, Activations activations) const override;
  const at::Tensor& embedding() const override { return weights_.embedding; }
  const at::Tensor& head() const override { return weights_.head; }
  std::int64_t parameters() const override;

 private:
  at::Tensor encode(const PackedBatch& batch, ExpertSource* experts, Activations activations) const;
  void remember(const at::Tensor& states, const PackedBatch& batch, ExpertSource* experts) const;
  at::Tensor decode(const PackedBatch& batch, ExpertSource* experts) const;

  EncoderDecoderConfig config_;
  Weights weights_;
};

}  // namespace quiver::model
