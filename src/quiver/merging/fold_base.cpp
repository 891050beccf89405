// SPDX-License-Identifier: Apache-2.0
#include "quiver/merging/fold_base.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <c10/core/GradMode.h>

#include <nlohmann/json.hpp>
#include <set>

#include "quiver/adapter/derived.h"
#include "quiver/adapter/traits.h"
#include "quiver/base/error.h"
#include "quiver/base/output_folder.h"
#include "quiver/base/strings.h"
#include "quiver/tensor_io/gguf.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/weights_folder.h"

namespace quiver::merging {
namespace {

constexpr const char* kWholeFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

/// The files that the loader reads, once it has found the folder in order.
std::set<std::string> shards_of(const fs::path& base) {
  if (fs::exists(base / kWholeFile)) return {kWholeFile};
  QUIVER_CHECK(fs::exists(base / kIndexFile), unsupported, base.string(),
               "weights that are not safetensors, expected {} or {}", kWholeFile, kIndexFile);
  std::set<std::string> out;
  const auto index = nlohmann::json::parse(read_file(base / kIndexFile));
  for (const auto& [name, shard] : index.at("weight_map").items()) out.insert(shard.get<std::string>());
  return out;
}

using Shape = std::vector<std::int64_t>;

/// The tensor's shape, once it can be written to. Throws Error{mismatch} where there is none, as of `place`.
Shape shape_of(const tensor_io::TensorSource& weights, const std::string& place, const std::string& tensor,
               const std::string& where) {
  const auto found = weights.tensors().find(tensor);
  QUIVER_CHECK(found != weights.tensors().end(), mismatch, where, "the adapter's '{}' has no '{}' in it", place,
               tensor);
  const auto& dtype = found->second.stored_dtype;
  QUIVER_CHECK(dtype == "F32" || dtype == "F16" || dtype == "BF16", unsupported, where,
               "'{}' is {}, expected F32, F16 or BF16", tensor, dtype);
  return found->second.shape;
}

std::set<std::string> places_of(const adapter::Adapter& adapter) {
  std::set<std::string> out;
  for (const auto& [site, factors] : adapter.sites) out.insert(site);
  for (const auto& [site, extras] : adapter.extras) out.insert(site);
  for (const auto& [site, tensors] : adapter.stored) out.insert(site);
  out.erase("");
  return out;
}

/// The sites that the adapter touches, as the folder holds them.
std::vector<model::Site> sites_of(const tensor_io::TensorSource& weights, const adapter::Adapter& adapter,
                                  const std::string& where) {
  std::vector<model::Site> out;
  for (const auto& place : places_of(adapter)) {
    const auto shape = shape_of(weights, place, place + ".weight", where);
    QUIVER_CHECK(shape.size() == 2, mismatch, where, "'{}.weight' is {}, expected a linear map", place,
                 nlohmann::json(shape).dump());
    auto& site = out.emplace_back();
    site.name = place;
    site.out = shape[0];
    site.in = shape[1];
    site.weight = weights.load(place + ".weight");
    if (weights.tensors().contains(place + ".bias")) site.bias = weights.load(place + ".bias");
  }
  return out;
}

void check_fits(const tensor_io::TensorSource& weights, const std::vector<model::Site>& sites,
                const adapter::Adapter& adapter, const std::string& name, const std::string& where) {
  for (const auto& site : sites) {
    if (const auto f = adapter.sites.find(site.name); f != adapter.sites.end()) {
      QUIVER_CHECK(f->second.b.size(0) == site.out && f->second.a.size(1) == site.in, mismatch, where,
                   "'{}.weight' is [{},{}], the adapter's site is [{},{}]", site.name, site.out, site.in,
                   f->second.b.size(0), f->second.a.size(1));
    }
    const auto e = adapter.extras.find(site.name);
    if (e == adapter.extras.end()) continue;
    const auto fits = [](const at::Tensor& t, std::int64_t width) { return !t.defined() || t.numel() == width; };
    QUIVER_CHECK(fits(e->second.input_scale, site.in) && fits(e->second.output_scale, site.out) &&
                     fits(e->second.bias, site.out),
                 mismatch, where, "'{}.weight' is [{},{}], and the adapter's scales or bias have other widths",
                 site.name, site.out, site.in);
    QUIVER_CHECK(!e->second.bias.defined() || site.bias.defined(), unsupported, where,
                 "expert '{}' has a bias at '{}', where the base model has none that could take it in; apply it with "
                 "--route expert:{}",
                 name, site.name, name);
  }
  for (const auto& [norm, weight] : adapter.norms) {
    const auto shape = shape_of(weights, norm, norm + ".weight", where);
    QUIVER_CHECK((shape == Shape{weight.numel()}), mismatch, where, "'{}.weight' is {}, the adapter's is [{}]", norm,
                 nlohmann::json(shape).dump(), weight.numel());
  }
}

/// l (W + s B A) diag(l_in).
at::Tensor folded_weight(const at::Tensor& weight, const std::string& site, const adapter::Adapter& adapter) {
  auto out = weight.to(at::kFloat);
  if (const auto f = adapter.sites.find(site); f != adapter.sites.end())
    out =
        at::addmm(out, f->second.b.detach().to(at::kFloat), f->second.a.detach().to(at::kFloat), 1.0, f->second.scale);
  if (const auto e = adapter.extras.find(site); e != adapter.extras.end()) {
    if (e->second.input_scale.defined()) out = out * e->second.input_scale.detach().unsqueeze(0);
    if (e->second.output_scale.defined()) out = out * e->second.output_scale.detach().unsqueeze(1);
  }
  return out.to(weight.scalar_type());
}

/// l b_0 + b.
at::Tensor folded_bias(const at::Tensor& bias, const ops::SiteExtras& extras) {
  auto out = bias.to(at::kFloat);
  if (extras.output_scale.defined()) out = out * extras.output_scale.detach();
  if (extras.bias.defined()) out = out + extras.bias.detach();
  return out.to(bias.scalar_type());
}

at::Tensor folded(const std::string& name, const at::Tensor& tensor, const adapter::Adapter& adapter) {
  const auto place = name.substr(0, name.rfind('.'));
  if (name.ends_with(".bias")) {
    const auto e = adapter.extras.find(place);
    return e == adapter.extras.end() ? tensor : folded_bias(tensor, e->second);
  }
  if (!name.ends_with(".weight")) return tensor;
  if (const auto norm = adapter.norms.find(place); norm != adapter.norms.end())
    return norm->second.detach().to(tensor.scalar_type());
  return adapter.sites.contains(place) || adapter.extras.contains(place) ? folded_weight(tensor, place, adapter)
                                                                         : tensor;
}

void write_shard(const fs::path& from, const fs::path& to, const adapter::Adapter& adapter) {
  const c10::AutoGradMode no_gradient(false);
  const auto file = tensor_io::open_safetensors(from);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, info] : file->tensors()) tensors[name] = folded(name, file->load(name), adapter);
  tensor_io::write_safetensors(to, tensors, tensor_io::safetensors_metadata(from));
}

bool holds_weights(const fs::path& file) {
  static const std::set<std::string> suffixes{".safetensors", ".bin",  ".pt",      ".pth",  ".ckpt",
                                              ".h5",          ".gguf", ".msgpack", ".onnx", ".ot"};
  return suffixes.contains(file.extension().string());
}

}  // namespace

void fold_into_base(const fs::path& base, const adapter::Adapter& adapter, const fs::path& output,
                    const std::string& name) {
  adapter::require(
      name, adapter,
      {"--into-base", adapter::kFoldable, false,
       fmt::format("no weights of the base model can take that in; apply it with --route expert:{}", name)});
  QUIVER_CHECK(fs::is_directory(base) && fs::exists(base / "config.json"), usage, base.string(),
               "an adapter is folded into a Hugging Face folder of safetensors, and this is {}",
               tensor_io::is_gguf(base) ? "a GGUF file, whose quantised weights would lose it"
                                        : "not one: it has no config.json");
  const OutputFolder free{.path = output, .files = model_files(), .inputs = {base}};
  check_output(free);
  const auto weights = tensor_io::open_weights_folder(base);
  const auto sites = sites_of(*weights, adapter, base.string());
  const auto applied = adapter::applied(adapter, sites, name);
  check_fits(*weights, sites, applied, name, base.string());
  write_output(free, [&](const fs::path& folder) {
    for (const auto& entry : fs::directory_iterator(base)) {
      const bool index = entry.path().filename() == kIndexFile;
      if (entry.is_regular_file() && !holds_weights(entry.path()) && !(index && fs::exists(base / kWholeFile)))
        fs::copy_file(entry.path(), folder / entry.path().filename());
    }
    for (const auto& shard : shards_of(base)) write_shard(base / shard, folder / shard, applied);
  });
}

}  // namespace quiver::merging
