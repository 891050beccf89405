// SPDX-License-Identifier: Apache-2.0
// Prefix tuning (Li and Liang, 2021): keys and values before the prompt, or before a decoder's answer, in every layer.
// In training they may come from a map of one hidden layer: W_2 tanh(W_1 e + b_1) + b_2.
#include <ATen/ops/linear.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "quiver/adapter/kinds/starts.h"
#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

constexpr const char *kEmbedding = "prefix_map.embedding", *kIn = "prefix_map.in", *kInBias = "prefix_map.in_bias";
constexpr const char *kOut = "prefix_map.out", *kOutBias = "prefix_map.out_bias";

struct PrefixOptions {
  std::int64_t hidden = 0;  ///< units of the map that a prefix is trained through; 0: it is trained as it is
};

void describe(KindOptions& options, OptionSet& set) {
  set.integer("prefix_hidden", options.of<PrefixOptions>().hidden, at_least(0),
              "train a prefix through a map with so many hidden units; 0: as it is");
}

void make(const NewAdapter& in, Adapter& out) {
  const auto hidden = in.options.of<PrefixOptions>().hidden;
  const auto width = in.model.config().answer_layers() * 2 * key_width(in.model);
  Random random(derive_seed(in.seed, 500000));
  if (hidden == 0) {
    out.prefix = normal({in.options.prompt_tokens, width}, random, 1.0);  // as PEFT starts an embedding
    return;
  }
  auto& map = out.stored[""];
  map[kEmbedding] = random_embeddings(in, 500001);
  const auto layer = [&](std::int64_t to, std::int64_t from, const char* weight, const char* bias) {
    map[weight] = uniform({to, from}, random, 1.0 / std::sqrt(static_cast<double>(from)));
    map[bias] = at::zeros({to}, at::kFloat);
  };
  layer(hidden, map[kEmbedding].size(1), kIn, kInBias);
  layer(width, hidden, kOut, kOutBias);
}

void work_out(const WorkedOut& in, Adapter& out) {
  const auto of = [&](const char* key) { return in.given.stored_at("", key); };
  if (!of(kEmbedding).defined()) return;
  out.prefix = at::linear(at::tanh(at::linear(of(kEmbedding), of(kIn), of(kInBias))), of(kOut), of(kOutBias));
}

/// PEFT doubles a prefix for encoder-decoders and deals it out in fours, of which the last two go unused: layer i of
/// the decoder gets what is stored for layer 2 i mod layers.
at::Tensor dealt_as_peft(const at::Tensor& prefix, const nlohmann::json& config, const std::string& where) {
  if (config.value("num_transformer_submodules", nlohmann::json()) != 2) return prefix;
  const auto layers = config.value("num_layers", nlohmann::json());
  const auto count = layers.is_number_integer() ? layers.get<std::int64_t>() : 0;
  QUIVER_CHECK(count >= 1 && prefix.size(1) % (2 * count) == 0, format, where,
               "'num_layers' is {}, expected one that divides the prefix's {} columns in two for each", layers.dump(),
               prefix.size(1));
  std::vector<std::int64_t> from;
  for (std::int64_t i = 0; i < count; ++i) from.push_back(2 * i % count);
  const auto by_layer = prefix.view({prefix.size(0), count, prefix.size(1) / count});
  return by_layer.index_select(1, at::tensor(from, at::kLong)).flatten(1).contiguous();
}

Adapter read(Tensors tensors, const nlohmann::json& config, const std::string& where) {
  Adapter out;
  out.prefix = dealt_as_peft(take_vectors(std::move(tensors), config, where), config, where);
  return out;
}

AdapterFiles write(const Adapter& adapter, const std::string& base_model) {
  AdapterFiles out{config_of("PREFIX_TUNING", adapter, base_model), {{kPromptKey, adapter.prefix}}};
  out.config["num_virtual_tokens"] = adapter.prefix.size(0);
  out.config["num_transformer_submodules"] = 1;
  out.config["prefix_projection"] = false;
  return out;
}

StoredKey of_map(const char* key, std::int64_t dims) {
  return {.key = key, .label = "prefix map", .dims = dims, .of_site = false, .kept = false};
}

}  // namespace

Kind prefix_kind() {
  return {.name = "prefix",
          .summary = "keys and values before the prompt, or a decoder's answer, in every layer",
          .traits = {Trait::keys_values},
          .options = {"prompt_tokens"},
          .holds = [](const Adapter& a) { return a.prefix.defined() || a.stored_at("", kEmbedding).defined(); },
          .make = make,
          .stored = {of_map(kEmbedding, 2), of_map(kIn, 2), of_map(kInBias, 1), of_map(kOut, 2), of_map(kOutBias, 1)},
          .describe = describe,
          .work_out = work_out,
          // PEFT would compute something else with an encoder-decoder's and not say so.
          .peft = PeftFiles{"PREFIX_TUNING", read, [](const Adapter& a) { return !a.encoder_decoder; }, write}};
}

}  // namespace quiver::adapter
