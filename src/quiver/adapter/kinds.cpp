// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/kinds.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <utility>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/base/strings.h"

namespace quiver::adapter {
namespace {

constexpr double kBottleneckDeviation = 0.01;  // of its weights, as PEMT's target adapters start

constexpr std::array<std::pair<const char*, Kind>, 7> kNames{{{"lora", Kind::lora},
                                                              {"ia3", Kind::ia3},
                                                              {"bitfit", Kind::bitfit},
                                                              {"norms", Kind::norms},
                                                              {"bottleneck", Kind::bottleneck},
                                                              {"parallel", Kind::parallel},
                                                              {"prompt", Kind::prompt}}};

bool ends_in(const std::string& site, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(),
                     [&](const char* name) { return site.ends_with(std::string(".") + name); });
}
bool is_mlp_out(const std::string& site) { return ends_in(site, {"down_proj", "wo"}); }
bool is_attention_out(const std::string& site) { return ends_in(site, {"o_proj", "o"}); }
bool is_key_or_value(const std::string& site) { return ends_in(site, {"k_proj", "v_proj", "k", "v"}); }

at::Tensor normal(std::int64_t rows, std::int64_t columns, Random& random) {
  auto out = at::empty({rows, columns}, at::kFloat);
  for (std::int64_t i = 0; i < out.numel(); ++i)
    out.data_ptr<float>()[i] = static_cast<float>(random.normal() * kBottleneckDeviation);
  return out;
}

class Maker {
 public:
  Maker(const model::LanguageModel& model, const KindOptions& options, std::uint64_t seed)
      : model_(model), o_(options), seed_(seed) {}

  /// make(site, number) at the targeted sites, or where `usual` says so.
  template <typename Usual, typename Make>
  void at_sites(Usual usual, Make make) const {
    std::size_t made = 0;
    for (std::size_t i = 0; i < model_.sites().size(); ++i) {
      const auto& site = model_.sites()[i];
      if (o_.targets.empty() ? !usual(site.name) : !targets_site(o_.targets, site.name)) continue;
      make(site, i);
      ++made;
    }
    QUIVER_CHECK(made > 0, usage, "--targets", "'{}' match no site", join(o_.targets, ","));
  }

  void ia3(Adapter& out) const {
    at_sites([](const auto& name) { return is_key_or_value(name) || is_mlp_out(name); },
             [&](const model::Site& site, std::size_t) {
               auto& own = out.extras[site.name];
               (is_mlp_out(site.name) ? own.input_scale : own.output_scale) =
                   at::ones({is_mlp_out(site.name) ? site.in : site.out}, at::kFloat);
             });
  }
  void bitfit(Adapter& out) const {
    at_sites(
        [](const auto&) { return true; },
        [&](const model::Site& site, std::size_t) { out.extras[site.name].bias = at::zeros({site.out}, at::kFloat); });
  }
  void bottleneck(Adapter& out, bool after) const {
    at_sites([](const auto& name) { return is_mlp_out(name) || is_attention_out(name); },
             [&](const model::Site& site, std::size_t i) {
               Random random(derive_seed(seed_, 100000 + i));
               ops::Bottleneck b;
               b.down = normal(o_.width, after ? site.out : site.in, random);
               b.down_bias = at::zeros({o_.width}, at::kFloat);
               b.up = normal(site.out, o_.width, random);
               b.up_bias = at::zeros({site.out}, at::kFloat);
               b.scale = o_.scale;
               b.nonlinearity = o_.nonlinearity;
               b.after = after;
               out.extras[site.name].bottleneck = std::move(b);
             });
  }
  void norms(Adapter& out) const {
    for (const auto& norm : model_.norms()) out.norms[norm.name] = norm.weight.clone();
  }
  void prompt(Adapter& out) const {
    Random random(derive_seed(seed_, 200000));
    const auto& embedding = model_.embedding();
    out.soft_prompt = at::empty({o_.prompt_tokens, embedding.size(1)}, at::kFloat);
    for (std::int64_t i = 0; i < o_.prompt_tokens; ++i) {
      const auto token = random.below(static_cast<std::uint64_t>(embedding.size(0)));
      out.soft_prompt[i].copy_(embedding[static_cast<std::int64_t>(token)]);
    }
  }

 private:
  const model::LanguageModel& model_;
  const KindOptions& o_;
  std::uint64_t seed_;
};

}  // namespace

Kind kind_of_name(const std::string& name) {
  std::vector<std::string> known;
  for (const auto& [own, kind] : kNames) {
    if (name == own) return kind;
    known.emplace_back(own);
  }
  fail(ErrorCode::usage, "--kind", "'{}'{}, expected {}", name, suggestion(name, known), join(known, ", "));
}

std::string kind_name(Kind kind) {
  return std::find_if(kNames.begin(), kNames.end(), [&](const auto& entry) { return entry.second == kind; })->first;
}

Adapter make_adapter(const model::LanguageModel& model, const LoraOptions& lora, const KindOptions& o,
                     std::uint64_t seed) {
  QUIVER_CHECK(!o.kinds.empty(), usage, "--kind", "none given");
  QUIVER_CHECK(o.width >= 1 && o.prompt_tokens >= 1, usage, "--kind",
               "bottlenecks of width {} and prompts of {} vectors, expected at least 1", o.width, o.prompt_tokens);
  QUIVER_CHECK(!(o.kinds.contains(Kind::bottleneck) && o.kinds.contains(Kind::parallel)), usage, "--kind",
               "a site has one bottleneck: in series or in parallel");
  Adapter out{lora};
  if (o.kinds.contains(Kind::lora)) out = make_lora(model, lora, seed);
  const Maker maker(model, o, seed);
  if (o.kinds.contains(Kind::ia3)) maker.ia3(out);
  if (o.kinds.contains(Kind::bitfit)) maker.bitfit(out);
  if (o.kinds.contains(Kind::norms)) maker.norms(out);
  if (o.kinds.contains(Kind::bottleneck)) maker.bottleneck(out, true);
  if (o.kinds.contains(Kind::parallel)) maker.bottleneck(out, false);
  if (o.kinds.contains(Kind::prompt)) maker.prompt(out);
  return out;
}

}  // namespace quiver::adapter
