// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "quiver/base/random.h"
#include "quiver/model/families/t5.h"

namespace quiver::model::t5 {
namespace {

class Weights {
 public:
  Weights(const EncoderDecoderConfig& config, std::uint64_t seed) : c_(config), random_(seed) {}

  void normal(const std::string& name, std::int64_t out, std::int64_t in, double deviation) {
    auto t = at::empty({out, in}, at::kFloat);
    for (std::int64_t i = 0; i < t.numel(); ++i)
      t.data_ptr<float>()[i] = static_cast<float>(random_.normal() * deviation);
    tensors_[name] = t;
  }
  void norm(const std::string& name) { tensors_[name] = at::ones({c_.hidden}, at::kFloat); }

  void attention(const std::string& layer, const std::string& kind) {
    const auto width = c_.heads * c_.head_width;
    const double narrow = root(c_.hidden);
    normal(layer + kind + ".q.weight", width, c_.hidden, narrow * root(c_.head_width));
    for (const auto* name : {".k.weight", ".v.weight"}) normal(layer + kind + name, width, c_.hidden, narrow);
    normal(layer + kind + ".o.weight", c_.hidden, width, root(width));
    norm(layer + "layer_norm.weight");
  }
  void feed_forward(const std::string& layer) {
    const auto in = c_.gated ? std::vector<std::string>{"wi_0", "wi_1"} : std::vector<std::string>{"wi"};
    for (const auto& name : in)
      normal(layer + "DenseReluDense." + name + ".weight", c_.feed_forward, c_.hidden, root(c_.hidden));
    normal(layer + "DenseReluDense.wo.weight", c_.hidden, c_.feed_forward, root(c_.feed_forward));
    norm(layer + "layer_norm.weight");
  }
  void stack(const std::string& name, std::int64_t layers, bool cross) {
    for (std::int64_t i = 0; i < layers; ++i) {
      const auto block = fmt::format("{}.block.{}.layer.", name, i);
      int next = 0;
      attention(fmt::format("{}{}.", block, next++), "SelfAttention");
      if (cross) attention(fmt::format("{}{}.", block, next++), "EncDecAttention");
      feed_forward(fmt::format("{}{}.", block, next));
    }
    normal(name + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight", c_.buckets, c_.heads,
           root(c_.hidden));
    norm(name + ".final_layer_norm.weight");
  }
  std::map<std::string, at::Tensor> take() { return std::move(tensors_); }

 private:
  static double root(std::int64_t size) { return 1.0 / std::sqrt(static_cast<double>(size)); }

  const EncoderDecoderConfig& c_;
  Random random_;
  std::map<std::string, at::Tensor> tensors_;
};

}  // namespace

std::map<std::string, at::Tensor> random_weights(const nlohmann::json& config, std::uint64_t seed) {
  const auto c = config_of_json(config, "config");
  Weights out(c, seed);
  out.normal("shared.weight", c.vocabulary, c.hidden, 1.0);
  out.stack("encoder", c.encoder_layers, false);
  out.stack("decoder", c.layers - c.encoder_layers, true);
  if (!c.scaled_output) out.normal("lm_head.weight", c.vocabulary, c.hidden, 1.0);
  return out.take();
}

}  // namespace quiver::model::t5
