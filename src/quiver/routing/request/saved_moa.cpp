// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/saved_moa.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::routing {
namespace {

template <typename Enum>
Enum enum_option(const SavedRouter& saved, const char* key, int last) {
  const auto value = saved.options.is_object() ? saved.options.value(key, -1) : -1;
  QUIVER_CHECK(value >= 0 && value <= last, format, "router " + saved.name, "option '{}' is {}, expected 0 to {}", key,
               value, last);
  return static_cast<Enum>(value);
}

/// A number written in digits, or -1.
std::int64_t place_of(const std::string& text) {
  const bool digits = !text.empty() && text.size() < 10 &&
                      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::stoll(text) : -1;
}

std::string kind_of(const MoaShape& shape, const std::string& expert) {
  return fmt::format("moa-{}-{}{}/{}", static_cast<int>(shape.places), static_cast<int>(shape.pooling),
                     shape.forced ? "-forced" : "", expert);
}

}  // namespace

std::optional<PlaceStates> read_moa_features(const library::Library& library, const MoaShape& shape,
                                             const std::string& expert) {
  const auto path = library.derived(kind_of(shape, expert), library.info(expert).identity, "safetensors");
  if (!path) return std::nullopt;
  PlaceStates out;
  const auto file = tensor_io::open_safetensors(*path);
  for (const auto& [name, info] : file->tensors()) {
    QUIVER_CHECK(place_of(name) >= 0 && info.shape.size() == 2, format, path->string(), "'{}' is no place's states",
                 name);
    out[place_of(name)] = file->load(name).to(at::kFloat);
  }
  return out;
}

void write_moa_features(const library::Library& library, const MoaShape& shape, const std::string& expert,
                        const PlaceStates& states) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [place, own] : states) tensors[std::to_string(place)] = own.to(at::kHalf).contiguous();
  library.write_derived(kind_of(shape, expert), library.info(expert).identity, "safetensors",
                        [&](const fs::path& path) {
                          tensor_io::write_safetensors(path, tensors, {{"format", "pt"}});
                        });
}

SavedRouter save_moa(const std::string& name, const std::vector<std::string>& experts, const MoaShape& shape,
                     const Classifiers& classifiers) {
  SavedRouter out;
  out.name = name;
  out.kind = "moa";
  out.experts = experts;
  out.options = {{"places", static_cast<int>(shape.places)},
                 {"pooling", static_cast<int>(shape.pooling)},
                 {"forced", shape.forced}};
  for (const auto& [place, c] : classifiers) {
    out.tensors[fmt::format("{}.mean", place)] = c.mean;
    out.tensors[fmt::format("{}.deviation", place)] = c.deviation;
    for (std::size_t i = 0; i < c.weights.size(); ++i) {
      out.tensors[fmt::format("{}.{}.weight", place, i)] = c.weights[i];
      out.tensors[fmt::format("{}.{}.bias", place, i)] = c.biases[i];
    }
  }
  return out;
}

Classifiers read_moa(const SavedRouter& saved, MoaShape& shape) {
  shape.places = enum_option<MoaPlaces>(saved, "places", 2);
  shape.pooling = enum_option<Pooling>(saved, "pooling", 2);
  shape.forced = saved.options.value("forced", nlohmann::json(false)) == nlohmann::json(true);
  Classifiers out;
  for (const auto& [name, tensor] : saved.tensors) {
    const auto parts = split(name, '.');
    const auto place = place_of(parts[0]);
    QUIVER_CHECK(place >= 0, format, "router " + saved.name, "tensor '{}' names no place", name);
    auto& own = out[place];
    if (parts.size() == 2 && parts[1] == "mean") own.mean = tensor;
    if (parts.size() == 2 && parts[1] == "deviation") own.deviation = tensor;
    // The map is sorted, so layers come in their order; there are at most two.
    if (parts.size() == 3 && parts[2] == "weight") own.weights.push_back(tensor);
    if (parts.size() == 3 && parts[2] == "bias") own.biases.push_back(tensor);
  }
  for (const auto& [place, c] : out) {
    const bool whole = c.mean.defined() && c.deviation.defined() && !c.weights.empty() && c.weights.size() <= 2 &&
                       c.weights.size() == c.biases.size() && c.weights[0].dim() == 2 &&
                       c.weights[0].size(1) == c.mean.numel() && c.biases.back().dim() == 1;
    QUIVER_CHECK(whole, format, "router " + saved.name, "place {} lacks a tensor, or its shape is wrong", place);
  }
  QUIVER_CHECK(!out.empty(), format, "router " + saved.name, "it has no classifier");
  return out;
}

}  // namespace quiver::routing
