// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/prompts/saved_pemt.h"

#include "quiver/base/error.h"

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

class Reader {
 public:
  Reader(const SavedRouter& saved) : saved_(saved) {}

  at::Tensor find(const std::string& name) const {
    const auto found = saved_.tensors.find(name);
    return found == saved_.tensors.end() ? at::Tensor() : found->second.to(at::kFloat);
  }
  at::Tensor take(const std::string& name) const {
    auto out = find(name);
    QUIVER_CHECK(out.defined(), format, "router " + saved_.name, "tensor '{}' is missing", name);
    return out;
  }
  std::optional<ops::Bottleneck> bottleneck(const std::string& site, const char* what, const std::string& number,
                                            const char* option, bool after) const {
    if (!find(site + what + "down.weight" + number).defined()) return std::nullopt;
    ops::Bottleneck out;
    out.down = take(site + what + "down.weight" + number);
    out.down_bias = find(site + what + "down.bias" + number);
    out.up = take(site + what + "up.weight" + number);
    out.up_bias = find(site + what + "up.bias" + number);
    const auto options = saved_.options.value(option, json::object());
    const auto kind = number_of(options, "nonlinearity", 0);
    QUIVER_CHECK(kind >= 0 && kind <= static_cast<int>(ops::Nonlinearity::tanh), format, "router " + saved_.name,
                 "nonlinearity {}", kind);
    out.nonlinearity = static_cast<ops::Nonlinearity>(static_cast<int>(kind));
    out.scale = number_of(options, "scale", 1.0);
    out.reads = after ? ops::Reads::output : ops::Reads::input;
    return out;
  }
  double number_of(const json& object, const char* key, double fallback) const {
    const auto value = object.is_object() ? object.value(key, json()) : json();
    return value.is_number() ? value.get<double>() : fallback;
  }

 private:
  const SavedRouter& saved_;
};

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

Pemt read_pemt(const SavedRouter& saved, const model::Model& model) {
  const auto where = "router " + saved.name;
  const auto names = saved.options.is_object() ? saved.options.value("sources", json()) : json();
  QUIVER_CHECK(names.is_array() && !names.empty(), format, where, "'sources' is no list of names");
  const auto scales = saved.options.value("scales", json::array());
  QUIVER_CHECK(scales.is_array() && scales.size() == names.size(), format, where, "'scales' has not one per source");
  const Reader reader(saved);
  Pemt out;
  const auto gate = reader.number_of(saved.options, "gate", 0);
  QUIVER_CHECK(gate == 0 || gate == 1, format, where, "gate {}, expected 0 or 1", gate);
  out.options.gate = static_cast<PemtOptions::Gate>(static_cast<int>(gate));
  out.options.temperature = reader.number_of(saved.options, "temperature", 1.0);
  out.options.live = saved.options.value("live", json(true)) == json(true);
  out.options.mask_prompt = saved.options.value("mask_prompt", json(false)) == json(true);
  auto bank = std::make_shared<adapter::Bank>(model);
  for (std::size_t k = 0; k < names.size(); ++k) {
    adapter::Adapter source;
    const auto suffix = "." + std::to_string(k);
    for (const auto& site : model.sites()) {
      if (reader.find(site.name + ".lora_A" + suffix).defined())
        source.sites[site.name] = {reader.take(site.name + ".lora_A" + suffix),
                                   reader.take(site.name + ".lora_B" + suffix),
                                   scales[k].is_number() ? scales[k].get<double>() : 1.0};
      if (auto b = reader.bottleneck(site.name, ".source.", suffix, "source_bottleneck", false))
        source.extras[site.name].bottleneck = std::move(b);
    }
    bank->add(names[k].is_string() ? names[k].get<std::string>() : std::to_string(k), source);
    if (auto prompt = reader.find("source_prompts" + suffix); prompt.defined()) out.source_prompts.push_back(prompt);
  }
  adapter::Adapter target;
  for (std::size_t s = 0; s < model.sites().size(); ++s) {
    const auto& name = model.sites()[s].name;
    const auto own = reader.find(name + ".gate");
    if (!own.defined()) continue;
    QUIVER_CHECK(own.dim() == 2 && own.size(1) == static_cast<std::int64_t>(names.size()), format, where,
                 "'{}.gate' is not [inputs, {}]", name, names.size());
    out.gates[static_cast<std::int64_t>(s)] = own;
    auto b = reader.bottleneck(name, ".adapter.", "", "bottleneck", true);
    QUIVER_CHECK(b, format, where, "'{}' has a gate but no adapter.down.weight", name);
    target.extras[name].bottleneck = std::move(b);
  }
  QUIVER_CHECK(!out.gates.empty(), mismatch, where, "no gate belongs to a site of the base model");
  for (const auto& norm : model.norms()) {
    if (auto weight = reader.find(norm.name + ".weight"); weight.defined()) target.norms[norm.name] = weight;
  }
  bank->add("target", target);
  out.bank = std::move(bank);
  out.prompt = reader.take("prompt_embeddings");
  QUIVER_CHECK(out.prompt.dim() == 2 && out.prompt.size(1) == model.config().hidden, mismatch, where,
               "'prompt_embeddings' is not [tokens, {}]", model.config().hidden);
  return out;
}

}  // namespace quiver::routing
