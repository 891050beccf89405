// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/prepare_settings.h"

#include "quiver/routing/described.h"
#include "quiver/routing/learned/xlora_router.h"

namespace quiver::workspace {

using training::RouterOptions;

void describe(PhatgooseSettings& o, OptionSet& set) {
  set.integer("steps", o.steps, at_least(1), "of training a gate, 4 rows each")
      .number("learning_rate", o.learning_rate, above(0), "of the gates");
}

void describe(MoaSettings& o, OptionSet& set) {
  routing::describe(o.shape, set);
  routing::describe(o.classifier, set);
}

RouterOptions gates_settings() { return {}; }

RouterOptions molora_settings() {
  RouterOptions out;
  out.mix.top_k = 2;
  return out;
}

RouterOptions rkhs_settings() {
  RouterOptions out;
  out.gate.kind = routing::GateKind::rkhs;
  out.mix.share_of_all = true;
  return out;
}

RouterOptions product_keys_settings() {
  RouterOptions out;
  out.gate.kind = routing::GateKind::product_keys;
  return out;
}

RouterOptions weights_settings() {
  RouterOptions out;
  out.kind = RouterOptions::Kind::weights;
  return out;
}

RouterOptions soup_settings() {
  auto out = weights_settings();
  out.places.softmax = true;
  return out;
}

RouterOptions xlora_settings() {
  RouterOptions out;
  out.kind = RouterOptions::Kind::xlora;
  out.learning_rate = 1e-3;
  out.mix.temperature = 1.0;
  return out;
}

}  // namespace quiver::workspace

namespace quiver::training {
namespace {

void describe_gates(RouterOptions& o, OptionSet& set) {
  routing::describe_gate_mix(o.mix, set);
  routing::describe_share_of_all(o.mix, set);
  routing::describe_input_norm(set, o.input_norm);
  set.number("balance", o.balance, at_least(0), "of the loss that spreads tokens over experts")
      .number("entropy", o.mutual_information, at_least(0), "of the loss that is sure of each token, even over all")
      .number("z", o.z, at_least(0), "of the loss on the size of scores");
  if (o.gate.kind == routing::GateKind::linear) return;
  set.integer("space", o.gate.space, at_least(1), "width of the space in which tokens and experts meet");
  if (o.gate.kind == routing::GateKind::rkhs)
    set.integer("embedding", o.gate.embedding, at_least(1), "width of the experts' embeddings");
}

void describe_xlora(RouterOptions& o, OptionSet& set) {
  routing::describe_count(set, "top_k", o.mix.top_k, "experts of a token and site");
  routing::describe_temperature(set, o.mix.temperature, "of the softmax");
  routing::describe_shape(o.depth, o.per_site, set);
  set.integer("width", o.width, at_least(1), "of the inner layers");
}

}  // namespace

void describe(RouterOptions& o, OptionSet& set) {
  switch (o.kind) {
    case RouterOptions::Kind::gates:
      describe_gates(o, set);
      break;
    case RouterOptions::Kind::weights:
      routing::describe(o.places, set);
      routing::describe_combine(set, o.mix.combine);
      break;
    case RouterOptions::Kind::xlora:
      describe_xlora(o, set);
      break;
  }
  set.number("learning_rate", o.learning_rate, above(0), "of the router");
}

void describe(AverageActivationOptions& o, OptionSet& set) {
  using Token = AverageActivationOptions::Token;
  set.choice("token", o.token, {{"last", Token::last}, {"mean", Token::mean}}, "which token's input a row gives")
      .flag("base_only", o.base_only, "inputs of the base model, without the expert");
}

}  // namespace quiver::training

namespace quiver::data {

void describe(TfidfOptions& o, OptionSet& set) { set.flag("bigrams", o.bigrams, "pairs of words as terms too"); }

}  // namespace quiver::data
