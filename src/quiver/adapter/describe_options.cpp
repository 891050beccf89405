// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/describe_options.h"

#include "quiver/adapter/kind.h"

namespace quiver::adapter {

void describe(LoraOptions& o, OptionSet& set) {
  set.group("lora")
      .integer("rank", o.rank, between(1, 4096), "rank of A and B")
      .number("alpha", o.alpha, above(0), "scale = alpha / rank")
      .shown_default("2 * rank")
      .flag("rslora", o.rank_stabilised, "scale = alpha / sqrt(rank)")
      .number("dropout", o.dropout, from_to_below(0, 1), "of the input of A, in training")
      .texts("targets", o.targets, "sites by the end of their names, or one regular expression")
      .shown_default("all")
      .choice("init", o.init, inits(), "how A and B start")
      .flag("share_a", o.share_a, "one fixed A for all experts of a seed, B alone is trained (for --route seqr)");
}

void settle(LoraOptions& o, const OptionSet& set) {
  if (!set.given("alpha")) o.alpha = 2.0 * static_cast<double>(o.rank);
}

void describe(KindOptions& o, OptionSet& set) {
  set.group("kinds")
      .texts("kind_targets", o.targets, "sites of ia3, bitfit, vera and bottlenecks")
      .shown_default("each kind's usual ones")
      .integer("bottleneck_width", o.width, between(1, 65536), "inner width of bottlenecks")
      .number("bottleneck_scale", o.scale, any_number(), "factor of what a bottleneck adds")
      .choice("nonlinearity", o.nonlinearity, nonlinearities(), "of bottlenecks")
      .integer("prompt_tokens", o.prompt_tokens, between(1, 65536), "length of a prompt or prefix");
  for (const auto& kind : kind_table()) {
    if (kind.describe) kind.describe(o, set);
  }
}

void set_option(KindOptions& options, const std::string& name, const std::string& value) {
  OptionSet set;
  describe(options, set);
  set.assign(name, value, command_line_name(name));
}

namespace {

template <typename Options>
void check_described(Options options) {
  OptionSet set;
  describe(options, set);
  check_ranges(set);
}

}  // namespace

void check(const LoraOptions& options) { check_described(options); }
void check(const KindOptions& options) { check_described(options); }

nlohmann::json to_json(KindOptions options) {
  OptionSet set;
  describe(options, set);
  std::vector<std::string> names;
  for (auto& name : options_of(options.kinds)) {
    if (set.find(name)) names.push_back(std::move(name));
  }
  auto out = set.to_json(names);
  out["kinds"] = options.kinds;
  return out;
}

std::vector<std::string> options_of(const std::set<std::string>& kinds) {
  std::set<std::string> out;
  for (const auto& kind : kind_help()) {
    if (kinds.contains(kind.name)) out.insert(kind.options.begin(), kind.options.end());
  }
  return {out.begin(), out.end()};
}

}  // namespace quiver::adapter
