// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/saved_moa.h"

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::routing {
namespace {

/// A number written in digits, or -1.
std::int64_t place_of(const std::string& text) {
  const bool digits = !text.empty() && text.size() < 10 &&
                      std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::stoll(text) : -1;
}

}  // namespace

DerivedKind moa_states_kind(const MoaShape& shape) {
  return {fmt::format("moa-{}-{}{}", static_cast<int>(shape.places), static_cast<int>(shape.pooling),
                      shape.forced ? "-forced" : ""),
          kMoaVersion};
}

std::optional<PlaceStates> read_moa_features(const ExpertFiles& files, std::size_t expert,
                                             const std::optional<std::string>& made_with) {
  const auto file = files.open(expert, made_with);
  if (!file) return std::nullopt;
  PlaceStates out;
  for (const auto& [name, info] : file->tensors()) {
    QUIVER_CHECK(place_of(name) >= 0 && info.shape.size() == 2, format, files.place(expert),
                 "'{}' is no place's states; delete the file and prepare the route again", name);
    out[place_of(name)] = file->load(name).to(at::kFloat);
  }
  return out;
}

void write_moa_features(const ExpertFiles& files, std::size_t expert, const PlaceStates& states,
                        const std::string& made_with) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [place, own] : states) tensors[std::to_string(place)] = own.contiguous();
  files.write(expert, tensors, made_with);
}

SavedRouter save_moa(const std::string& name, const std::vector<std::string>& experts, const MoaShape& shape,
                     const Classifiers& classifiers) {
  SavedRouter out;
  out.name = name;
  out.kind = "moa";
  out.experts = experts;
  auto own = shape;
  OptionSet set;
  describe(own, set);
  out.options = set.to_json();
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
  OptionSet set;
  describe(shape, set);
  saved.read_options(set);
  std::map<std::int64_t, std::int64_t> depths;  // linear maps of each place
  for (const auto& [name, tensor] : saved.tensors) {
    const auto place = place_of(split(name, '.')[0]);
    QUIVER_CHECK(place >= 0, format, saved.where(), "tensor '{}' names no place", name);
    depths[place] += name.ends_with(".weight") ? 1 : 0;
  }
  Classifiers out;
  for (const auto& [place, depth] : depths) {
    QUIVER_CHECK(depth == 1 || depth == 2, format, saved.where(), "place {} has {} linear maps, expected 1 or 2", place,
                 depth);
    auto& own = out[place];
    own.mean = saved.tensor(fmt::format("{}.mean", place), {-1});
    auto width = own.mean.size(0);
    own.deviation = saved.tensor(fmt::format("{}.deviation", place), {width});
    for (std::int64_t i = 0; i < depth; ++i) {
      own.weights.push_back(saved.tensor(fmt::format("{}.{}.weight", place, i), {-1, width}));
      width = own.weights.back().size(0);
      own.biases.push_back(saved.tensor(fmt::format("{}.{}.bias", place, i), {width}));
    }
  }
  QUIVER_CHECK(!out.empty(), format, saved.where(), "it has no classifier");
  return out;
}

}  // namespace quiver::routing
