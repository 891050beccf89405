// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/kinds.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "quiver/adapter/module_pattern.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/base/strings.h"

namespace quiver::adapter {
namespace {

constexpr double kBottleneckDeviation = 0.01;  // of its weights, as PEMT's target adapters start

constexpr double kMptDeviation = 0.02;  // of the factors of a task, as in PEFT

constexpr double kVeraGain = 0.1;  // what d starts as, in PEFT too

constexpr std::array<std::pair<const char*, Kind>, 13> kNames{{{"lora", Kind::lora},
                                                               {"ia3", Kind::ia3},
                                                               {"bitfit", Kind::bitfit},
                                                               {"norms", Kind::norms},
                                                               {"bottleneck", Kind::bottleneck},
                                                               {"parallel", Kind::parallel},
                                                               {"parallel-mlp", Kind::parallel_mlp},
                                                               {"mpt", Kind::mpt},
                                                               {"prompt", Kind::prompt},
                                                               {"prefix", Kind::prefix},
                                                               {"dora", Kind::dora},
                                                               {"vera", Kind::vera},
                                                               {"compacter", Kind::compacter}}};

bool is_mlp_out(const model::Site& site) { return site.role == model::Role::down; }
bool is_attention_out(const model::Site& site) { return site.role == model::Role::attention_output; }
bool is_key_or_value(const model::Site& site) {
  return site.role == model::Role::key || site.role == model::Role::value;
}

at::Tensor normal(at::IntArrayRef shape, Random& random, double deviation = kBottleneckDeviation) {
  auto out = at::empty(shape, at::kFloat);
  for (std::int64_t i = 0; i < out.numel(); ++i)
    out.data_ptr<float>()[i] = static_cast<float>(random.normal() * deviation);
  return out;
}

/// U(-bound, bound).
at::Tensor uniform(at::IntArrayRef shape, Random& random, double bound) {
  auto out = at::empty(shape, at::kFloat);
  for (std::int64_t i = 0; i < out.numel(); ++i)
    out.data_ptr<float>()[i] = static_cast<float>((2.0 * random.uniform() - 1.0) * bound);
  return out;
}

class Maker {
 public:
  Maker(const model::Model& model, const KindOptions& options, std::uint64_t seed)
      : model_(model), o_(options), seed_(seed) {}

  /// make(site, number) at the targeted sites, or where `usual` says so.
  template <typename Usual, typename Make>
  void at_sites(Usual usual, Make make) const {
    const auto& sites = model_.sites();
    if (!o_.targets.empty()) {
      for (const auto i : targeted_sites(sites, o_.targets, "--kind-targets")) make(sites[i], i);
      return;
    }
    for (std::size_t i = 0; i < sites.size(); ++i) {
      if (usual(sites[i])) make(sites[i], i);
    }
  }

  void ia3(Adapter& out) const {
    at_sites([](const auto& site) { return is_key_or_value(site) || is_mlp_out(site); },
             [&](const model::Site& site, std::size_t) {
               auto& own = out.extras[site.name];
               (is_mlp_out(site) ? own.input_scale : own.output_scale) =
                   at::ones({is_mlp_out(site) ? site.in : site.out}, at::kFloat);
             });
  }
  void bitfit(Adapter& out) const {
    at_sites(
        [](const auto&) { return true; },
        [&](const model::Site& site, std::size_t) { out.extras[site.name].bias = at::zeros({site.out}, at::kFloat); });
  }
  void bottleneck(Adapter& out, ops::Reads reads) const {
    const bool block = reads == ops::Reads::block;
    at_sites([&](const auto& site) { return is_mlp_out(site) || (!block && is_attention_out(site)); },
             [&](const model::Site& site, std::size_t i) {
               Random random(derive_seed(seed_, 100000 + i));
               auto& b = empty_bottleneck(out, site, reads);
               // A feed-forward block reads what it gives: D numbers.
               b.down = normal({o_.width, reads == ops::Reads::input ? site.in : site.out}, random);
               b.up = normal({site.out, o_.width}, random);
             });
  }
  void compacter(Adapter& out) const {
    const auto n = o_.products;
    QUIVER_CHECK(n >= 1 && o_.width % n == 0 && model_.config().hidden % n == 0, usage, "--products",
                 "{} does not divide the width {} and the model's {}", n, o_.width, model_.config().hidden);
    Random random(derive_seed(seed_, 300000));
    out.rule = normal({n, n, n}, random);
    at_sites([](const auto& site) { return is_mlp_out(site) || is_attention_out(site); },
             [&](const model::Site& site, std::size_t i) {
               Random own(derive_seed(seed_, 300001 + i));
               empty_bottleneck(out, site, ops::Reads::output);
               auto& d = out.derived[site.name];
               const auto glorot = [&](std::int64_t a, std::int64_t b) {
                 return uniform({n, a, b}, own, std::sqrt(6.0 / static_cast<double>(a + b)));
               };
               d.down_left = glorot(site.out / n, 1);
               d.down_right = glorot(1, o_.width / n);
               d.up_left = glorot(o_.width / n, 1);
               d.up_right = glorot(1, site.out / n);
             });
  }
  /// c starts as the lengths of W's rows, so that nothing changes at first.
  void magnitudes(Adapter& out) const {
    for (const auto& site : model_.sites()) {
      if (out.sites.contains(site.name))
        out.derived[site.name].magnitude = at::linalg_vector_norm(site.weight.to(at::kFloat), 2, at::IntArrayRef{1});
    }
  }
  /// S_A, S_B as He et al.'s initialisation has them, the same for all experts.
  void vera(Adapter& out, std::int64_t rank) const {
    std::int64_t widest_in = 0, widest_out = 0;
    at_sites([](const auto&) { return true; },
             [&](const model::Site& site, std::size_t) {
               out.derived[site.name].input_gains = at::full({rank}, kVeraGain, at::kFloat);
               out.derived[site.name].output_gains = at::zeros({site.out}, at::kFloat);
               widest_in = std::max(widest_in, site.in);
               widest_out = std::max(widest_out, site.out);
             });
    Random random(derive_seed(0, 400000));
    out.shared_a = uniform({rank, widest_in}, random, std::sqrt(6.0 / static_cast<double>(widest_in)));
    out.shared_b = uniform({widest_out, rank}, random, std::sqrt(6.0 / static_cast<double>(rank)));
  }
  void norms(Adapter& out) const {
    for (const auto& norm : model_.norms()) out.norms[norm.name] = norm.weight.clone();
  }
  /// Factors near 1, so that the tasks start from the shared prompt, a little apart.
  void mpt(Adapter& out) const {
    QUIVER_CHECK(o_.prompt_rank >= 1 && o_.tasks >= 1, usage, "--prompt-rank", "{}, expected at least 1",
                 o_.prompt_rank);
    prompt(out);
    Random random(derive_seed(seed_, 600000));
    const auto& p = out.soft_prompt;
    out.task_columns = normal({o_.tasks, p.size(0), o_.prompt_rank}, random, kMptDeviation) +
                       1.0 / static_cast<double>(o_.prompt_rank);
    out.task_rows = normal({o_.tasks, o_.prompt_rank, p.size(1)}, random, kMptDeviation) + 1.0;
  }
  void prompt(Adapter& out) const { out.soft_prompt = random_embeddings(200000); }
  void prefix(Adapter& out) const {
    const auto width = model_.config().answer_layers() * 2 * key_width(model_);
    Random random(derive_seed(seed_, 500000));
    if (o_.prefix_hidden == 0) {
      out.prefix = normal({o_.prompt_tokens, width}, random, 1.0);  // as PEFT starts an embedding
      return;
    }
    auto& map = out.prefix_map;
    map.embedding = random_embeddings(500001);
    const auto layer = [&](std::int64_t to, std::int64_t from, at::Tensor& weight, at::Tensor& bias) {
      weight = uniform({to, from}, random, 1.0 / std::sqrt(static_cast<double>(from)));
      bias = at::zeros({to}, at::kFloat);
    };
    layer(o_.prefix_hidden, map.embedding.size(1), map.in, map.in_bias);
    layer(width, o_.prefix_hidden, map.out, map.out_bias);
  }

 private:
  /// Biases, and no maps yet.
  ops::Bottleneck& empty_bottleneck(Adapter& out, const model::Site& site, ops::Reads reads) const {
    auto& b = out.extras[site.name].bottleneck.emplace();
    b.down_bias = at::zeros({o_.width}, at::kFloat);
    b.up_bias = at::zeros({site.out}, at::kFloat);
    b.scale = o_.scale;
    b.nonlinearity = o_.nonlinearity;
    b.reads = reads;
    return b;
  }
  at::Tensor random_embeddings(std::uint64_t stream) const {
    Random random(derive_seed(seed_, stream));
    const auto& embedding = model_.embedding();
    auto out = at::empty({o_.prompt_tokens, embedding.size(1)}, at::kFloat);
    for (std::int64_t i = 0; i < o_.prompt_tokens; ++i) {
      const auto token = random.below(static_cast<std::uint64_t>(embedding.size(0)));
      out[i].copy_(embedding[static_cast<std::int64_t>(token)]);
    }
    return out;
  }

  model::Model model_;
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

std::set<Kind> kinds_of(const Adapter& adapter) {
  std::set<Kind> out;
  if (!adapter.sites.empty()) out.insert(Kind::lora);
  for (const auto& [site, e] : adapter.extras) {
    if (e.bottleneck) out.insert(Kind::bottleneck);
    if (e.bias.defined()) out.insert(Kind::bitfit);
    if (e.input_scale.defined() || e.output_scale.defined()) out.insert(Kind::ia3);
  }
  for (const auto& [site, d] : adapter.derived) {
    if (d.magnitude.defined()) out.insert(Kind::dora);
    if (d.input_gains.defined()) out.insert(Kind::vera);
    if (d.down_left.defined()) out.insert(Kind::compacter);
  }
  if (out.contains(Kind::dora)) out.erase(Kind::lora);
  if (out.contains(Kind::compacter)) out.erase(Kind::bottleneck);
  if (!adapter.norms.empty()) out.insert(Kind::norms);
  if (adapter.soft_prompt.defined()) out.insert(adapter.task_columns.defined() ? Kind::mpt : Kind::prompt);
  if (adapter.prefix.defined() || adapter.prefix_map.embedding.defined()) out.insert(Kind::prefix);
  return out;
}

Adapter make_adapter(const model::Model& model, const LoraOptions& lora, const KindOptions& o, std::uint64_t seed) {
  QUIVER_CHECK(!o.kinds.empty(), usage, "--kind", "none given");
  QUIVER_CHECK(o.width >= 1 && o.prompt_tokens >= 1, usage, "--kind",
               "bottlenecks of width {} and prompts of {} vectors, expected at least 1", o.width, o.prompt_tokens);
  const auto several = [&](std::initializer_list<Kind> kinds) {
    return std::count_if(kinds.begin(), kinds.end(), [&](Kind kind) { return o.kinds.contains(kind); }) > 1;
  };
  QUIVER_CHECK(!several({Kind::bottleneck, Kind::parallel, Kind::parallel_mlp, Kind::compacter}), usage, "--kind",
               "a site has one bottleneck: bottleneck, parallel, parallel-mlp or compacter");
  QUIVER_CHECK(!several({Kind::lora, Kind::dora, Kind::vera}), usage, "--kind",
               "a site has one pair of factors: lora, dora or vera");
  QUIVER_CHECK(!several({Kind::prompt, Kind::mpt}), usage, "--kind", "one prompt: prompt or mpt");
  Adapter out{lora};
  if (o.kinds.contains(Kind::lora) || o.kinds.contains(Kind::dora)) out = make_lora(model, lora, seed);
  out.encoder_decoder = model.config().encoder_decoder();
  const Maker maker(model, o, seed);
  if (o.kinds.contains(Kind::dora)) maker.magnitudes(out);
  if (o.kinds.contains(Kind::vera)) maker.vera(out, lora.rank);
  if (o.kinds.contains(Kind::compacter)) maker.compacter(out);
  if (o.kinds.contains(Kind::ia3)) maker.ia3(out);
  if (o.kinds.contains(Kind::bitfit)) maker.bitfit(out);
  if (o.kinds.contains(Kind::norms)) maker.norms(out);
  if (o.kinds.contains(Kind::bottleneck)) maker.bottleneck(out, ops::Reads::output);
  if (o.kinds.contains(Kind::parallel)) maker.bottleneck(out, ops::Reads::input);
  if (o.kinds.contains(Kind::parallel_mlp)) maker.bottleneck(out, ops::Reads::block);
  if (o.kinds.contains(Kind::mpt)) maker.mpt(out);
  if (o.kinds.contains(Kind::prompt)) maker.prompt(out);
  if (o.kinds.contains(Kind::prefix)) maker.prefix(out);
  return out;
}

}  // namespace quiver::adapter
