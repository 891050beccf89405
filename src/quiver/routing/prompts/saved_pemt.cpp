// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/prompts/saved_pemt.h"

#include "quiver/base/error.h"
#include "quiver/routing/described.h"

namespace quiver::routing {
namespace {

using nlohmann::json;
using Tensors = std::map<std::string, at::Tensor>;

json to_json(const ops::Bottleneck& b) {
  return {{"scale", b.scale}, {"nonlinearity", static_cast<int>(b.nonlinearity)}};
}

class Writer {
 public:
  explicit Writer(Tensors& out) : out_(out) {}
  void put(const std::string& name, const at::Tensor& t) {
    if (t.defined()) out_[name] = t.detach().to(at::kFloat).contiguous();
  }
  void bottleneck(const std::string& site, const char* what, const ops::Bottleneck& b, const std::string& number) {
    put(site + what + "down.weight" + number, b.down);
    put(site + what + "down.bias" + number, b.down_bias);
    put(site + what + "up.weight" + number, b.up);
    put(site + what + "up.bias" + number, b.up_bias);
  }

 private:
  Tensors& out_;
};

/// Options of the whole, all but the lists and bottlenecks.
void describe(PemtOptions& o, OptionSet& set) {
  set.choice("gate", o.gate,
             {{"prompt-mean", PemtOptions::Gate::prompt_mean}, {"correlation", PemtOptions::Gate::correlation}},
             "what the gates go by");
  describe_temperature(set, o.temperature, "of the gates");
  set.flag("live", o.live, "the prompt attends to the sources' at every pass")
      .flag("mask_prompt", o.mask_prompt, "sparsity counts tokens of text alone");
}

class Reader {
 public:
  explicit Reader(const SavedRouter& saved) : saved_(saved) {}

  std::optional<ops::Bottleneck> bottleneck(const model::Site& site, const char* what, const std::string& number,
                                            const char* option, bool after) const {
    const auto name = site.name + what;
    if (!saved_.has(name + "down.weight" + number)) return std::nullopt;
    const auto in = after ? site.out : site.in;
    ops::Bottleneck out;
    out.down = saved_.tensor(name + "down.weight" + number, {-1, in});
    out.down_bias = saved_.find(name + "down.bias" + number, {out.down.size(0)});
    out.up = saved_.tensor(name + "up.weight" + number, {site.out, out.down.size(0)});
    out.up_bias = saved_.find(name + "up.bias" + number, {site.out});
    read_bottleneck(option, out);
    out.reads = after ? ops::Reads::output : ops::Reads::input;
    return out;
  }

 private:
  void read_bottleneck(const char* option, ops::Bottleneck& out) const {
    SavedRouter part{saved_.name, saved_.kind, {}, saved_.option<json>(option), nullptr, {}, {}};
    int kind = 0;
    OptionSet set;
    set.number("scale", out.scale, any_number(), "of the output")
        .integer("nonlinearity", kind, between(0, static_cast<double>(ops::Nonlinearity::tanh)), "between the maps");
    part.read_options(set);
    out.nonlinearity = static_cast<ops::Nonlinearity>(kind);
  }

  const SavedRouter& saved_;
};

/// All but the lists and the bottlenecks.
void read_options_of(const SavedRouter& saved, PemtOptions& out) {
  SavedRouter described{saved.name, saved.kind, {}, saved.options, nullptr, {}, {}};
  for (const auto* key : {"sources", "scales", "bottleneck", "source_bottleneck"}) described.options.erase(key);
  OptionSet set;
  describe(out, set);
  described.read_options(set);
}

}  // namespace

SavedRouter save_pemt(const std::string& name, const model::Model& model, const Pemt& pemt) {
  SavedRouter out;
  out.name = name;
  out.kind = "pemt";
  const auto count = pemt.sources();
  const auto target = static_cast<std::size_t>(count);
  json scales = json::array();
  out.options = {{"sources", std::vector<std::string>(pemt.bank->names().begin(), pemt.bank->names().end() - 1)},
                 {"gate", static_cast<int>(pemt.options.gate)},
                 {"temperature", pemt.options.temperature},
                 {"live", pemt.options.live},
                 {"mask_prompt", pemt.options.mask_prompt}};
  Writer writer(out.tensors);
  for (const auto& [number, gate] : pemt.gates) {
    const auto& site = pemt.bank->site(number);
    const auto module = model.sites()[static_cast<std::size_t>(number)].name;
    writer.put(module + ".gate", gate);
    for (std::int64_t k = 0; k < count; ++k) {
      const auto& f = site.experts[static_cast<std::size_t>(k)];
      const auto suffix = "." + std::to_string(k);
      writer.put(module + ".lora_A" + suffix, f.a);
      writer.put(module + ".lora_B" + suffix, f.b);
      if (scales.size() <= static_cast<std::size_t>(k)) scales.push_back(f.scale);
      if (f.a.defined()) continue;
      const auto& b = *site.extras.at(static_cast<std::size_t>(k)).bottleneck;
      writer.bottleneck(module, ".source.", b, suffix);
      out.options["source_bottleneck"] = to_json(b);
    }
    const auto& own = *site.extras.at(target).bottleneck;
    writer.bottleneck(module, ".adapter.", own, "");
    out.options["bottleneck"] = to_json(own);
  }
  out.options["scales"] = scales;
  for (std::size_t n = 0; n < model.norms().size(); ++n)
    writer.put(model.norms()[n].name + ".weight", pemt.bank->norm(count, static_cast<std::int64_t>(n)));
  writer.put("prompt_embeddings", pemt.prompt);
  for (std::size_t k = 0; k < pemt.source_prompts.size(); ++k)
    writer.put("source_prompts." + std::to_string(k), pemt.source_prompts[k]);
  return out;
}

namespace {

adapter::Adapter source_of(const SavedRouter& saved, const model::Model& model, std::size_t k, double scale) {
  const Reader reader(saved);
  const auto suffix = "." + std::to_string(k);
  adapter::Adapter source;
  for (const auto& site : model.sites()) {
    const auto a = site.name + ".lora_A" + suffix, b = site.name + ".lora_B" + suffix;
    if (saved.has(a)) {
      const auto down = saved.tensor(a, {-1, site.in});
      source.sites[site.name] = {down, saved.tensor(b, {site.out, down.size(0)}), scale};
    }
    if (auto own = reader.bottleneck(site, ".source.", suffix, "source_bottleneck", false))
      source.extras[site.name].bottleneck = std::move(own);
  }
  return source;
}

}  // namespace

Pemt read_pemt(const SavedRouter& saved, const model::Model& model) {
  const auto names = saved.option<std::vector<std::string>>("sources");
  const auto scales = saved.option<std::vector<double>>("scales");
  QUIVER_CHECK(!names.empty() && scales.size() == names.size(), format, saved.where(), "{} sources and {} scales",
               names.size(), scales.size());
  Pemt out;
  read_options_of(saved, out.options);
  const auto hidden = model.config().hidden;
  auto bank = std::make_shared<adapter::Bank>(model);
  for (std::size_t k = 0; k < names.size(); ++k) {
    bank->add(names[k], source_of(saved, model, k, scales[k]));
    if (auto prompt = saved.find("source_prompts." + std::to_string(k), {-1, hidden}); prompt.defined())
      out.source_prompts.push_back(prompt);
  }
  adapter::Adapter target;
  for (std::size_t s = 0; s < model.sites().size(); ++s) {
    const auto& site = model.sites()[s];
    if (!saved.has(site.name + ".gate")) continue;
    out.gates[static_cast<std::int64_t>(s)] =
        saved.tensor(site.name + ".gate", {-1, static_cast<std::int64_t>(names.size())});
    auto own = Reader(saved).bottleneck(site, ".adapter.", "", "bottleneck", true);
    QUIVER_CHECK(own, format, saved.where(), "'{}' has a gate but no adapter.down.weight", site.name);
    target.extras[site.name].bottleneck = std::move(own);
  }
  QUIVER_CHECK(!out.gates.empty(), mismatch, saved.where(), "no gate belongs to a site of the base model");
  for (const auto& norm : model.norms()) {
    if (auto weight = saved.find(norm.name + ".weight", {hidden}); weight.defined()) target.norms[norm.name] = weight;
  }
  bank->add("target", target);
  out.bank = std::move(bank);
  out.prompt = saved.tensor("prompt_embeddings", {-1, hidden});
  return out;
}

}  // namespace quiver::routing
