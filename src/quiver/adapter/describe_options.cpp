// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/describe_options.h"

namespace quiver::adapter {

void describe(LoraOptions& o, OptionSet& set) {
  using Init = LoraOptions::Init;
  set.group("lora")
      .integer("rank", o.rank, between(1, 4096), "rank of A and B")
      .number("alpha", o.alpha, above(0), "scale = alpha / rank")
      .shown_default("2 * rank")
      .flag("rslora", o.rank_stabilised, "scale = alpha / sqrt(rank)")
      .number("dropout", o.dropout, from_to_below(0, 1), "of the input of A, in training")
      .texts("targets", o.targets, "sites by the end of their names, or one regular expression")
      .shown_default("all")
      .choice("init", o.init, {{"peft", Init::peft}, {"mttl", Init::mttl}, {"pemt", Init::pemt}}, "how A and B start")
      .flag("share_a", o.share_a, "one fixed A for all experts of a seed, B alone is trained (for --route seqr)");
}

void settle(LoraOptions& o, const OptionSet& set) {
  if (!set.given("alpha")) o.alpha = 2.0 * static_cast<double>(o.rank);
}

void describe(KindOptions& o, OptionSet& set) {
  using ops::Nonlinearity;
  set.group("kinds")
      .texts("kind_targets", o.targets, "sites of ia3, bitfit, vera and bottlenecks")
      .shown_default("each kind's usual ones")
      .integer("bottleneck_width", o.width, between(1, 65536), "inner width of bottlenecks")
      .number("bottleneck_scale", o.scale, any_number(), "factor of what a bottleneck adds")
      .choice("nonlinearity", o.nonlinearity,
              {{"none", Nonlinearity::none},
               {"relu", Nonlinearity::relu},
               {"gelu", Nonlinearity::gelu},
               {"gelu_new", Nonlinearity::gelu_tanh},
               {"silu", Nonlinearity::silu},
               {"tanh", Nonlinearity::tanh}},
              "of bottlenecks")
      .integer("prompt_tokens", o.prompt_tokens, between(1, 65536), "length of a prompt or prefix")
      .integer("prompt_rank", o.prompt_rank, at_least(1), "rank of what mpt multiplies its prompt by")
      .integer("prefix_hidden", o.prefix_hidden, at_least(0),
               "train a prefix through a map with so many hidden units; 0: as it is")
      .integer("products", o.products, at_least(1), "Kronecker products that a map of compacter is a sum of");
}

std::vector<std::string> options_of(const std::set<std::string>& kinds) {
  std::set<std::string> out;
  for (const auto& kind : kind_help()) {
    if (kinds.contains(kind.name)) out.insert(kind.options.begin(), kind.options.end());
  }
  return {out.begin(), out.end()};
}

}  // namespace quiver::adapter
