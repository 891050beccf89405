// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/families/rotary_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/model/families/config_fields.h"

namespace quiver::model {
namespace {

using nlohmann::json;
using Kind = RotaryScaling::Kind;
constexpr const char *kBase = "rope_theta", *kPartial = "partial_rotary_factor",
                     *kOriginal = "original_max_position_embeddings";

bool has(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && !found->is_null();
}

/// All rotary settings in one object.
json rotary_parameters(const json& config, std::int64_t max_positions, const std::string& where) {
  json out = json::object();
  for (const auto* key : {"rope_scaling", "rope_parameters"}) {
    if (!has(config, key)) continue;
    QUIVER_CHECK(config[key].is_object(), format, where, "'{}' is {}, expected an object", key,
                 config[key].dump().substr(0, 80));
    if (out.empty()) out = config[key];
  }
  for (const auto& [key, value] : out.items())
    QUIVER_CHECK(!value.is_object(), unsupported, where, "rotary settings of '{}' alone, expected one for all layers",
                 key);
  for (const auto* key : {kBase, kPartial}) {
    if (!has(out, key) && has(config, key)) out[key] = config[key];
  }
  if (has(config, kOriginal)) out[kOriginal] = config[kOriginal];
  if (!has(out, kOriginal)) out[kOriginal] = max_positions;
  return out;
}

double positive(double value, const std::string& key, const std::string& where) {
  QUIVER_CHECK(std::isfinite(value) && value > 0, format, where, "'{}' is {}, expected a positive number", key, value);
  return value;
}

/// 0.1 m ln(s) + 1: how much longer contexts sharpen attention (Peng et al., 2023).
double yarn_sharpness(double factor, double weight = 1.0) {
  return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

RotaryScaling llama3_scaling(const json& parameters, const std::string& where) {
  RotaryScaling s;
  const auto read = [&](const char* key) { return positive(field<double>(parameters, key, where), key, where); };
  s.kind = Kind::llama3;
  s.factor = read("factor");
  s.low_frequency_factor = read("low_freq_factor");
  s.high_frequency_factor = read("high_freq_factor");
  s.original_positions = read(kOriginal);
  QUIVER_CHECK(s.high_frequency_factor > s.low_frequency_factor, format, where,
               "'high_freq_factor' is {}, expected more than low_freq_factor, {}", s.high_frequency_factor,
               s.low_frequency_factor);
  return s;
}

RotaryScaling yarn_scaling(const json& parameters, std::int64_t max_positions, const std::string& where) {
  RotaryScaling s;
  const auto read = [&](const char* key, double fallback) {
    return positive(field<double>(parameters, key, where, fallback), key, where);
  };
  s.kind = Kind::yarn;
  s.original_positions = read(kOriginal, 0);
  s.factor = read("factor", static_cast<double>(max_positions) / s.original_positions);
  s.beta_fast = read("beta_fast", s.beta_fast);
  s.beta_slow = read("beta_slow", s.beta_slow);
  s.whole_bounds = field<bool>(parameters, "truncate", where, true);
  const auto weight = field<double>(parameters, "mscale", where, 0.0),
             all = field<double>(parameters, "mscale_all_dim", where, 0.0);
  const auto sharpness = weight != 0 && all != 0 ? yarn_sharpness(s.factor, weight) / yarn_sharpness(s.factor, all)
                                                 : yarn_sharpness(s.factor);
  s.scale = read("attention_factor", sharpness);
  return s;
}

RotaryScaling scaling_of(const json& parameters, std::int64_t max_positions, const std::string& where) {
  const auto old_key = field<std::string>(parameters, "type", where, "");
  const auto kind = field<std::string>(parameters, "rope_type", where, old_key);
  if (kind == "llama3") return llama3_scaling(parameters, where);
  if (kind == "yarn") return yarn_scaling(parameters, max_positions, where);
  const auto factor = positive(field<double>(parameters, "factor", where, 1.0), "factor", where);
  RotaryScaling s;
  if (kind == "linear") {
    s.kind = Kind::linear;
    s.factor = positive(field<double>(parameters, "factor", where), "factor", where);
    return s;
  }
  QUIVER_CHECK(kind.empty() || kind == "default", unsupported, where,
               "rotary scaling '{}', expected default, linear, llama3 or yarn", kind);
  QUIVER_CHECK(factor == 1.0, format, where,
               "rotary scaling by {} without a kind; expected 'rope_type': linear, llama3 or yarn", factor);
  return s;
}

}  // namespace

void read_rotary(const json& config, const std::string& where, DecoderConfig& out) {
  const auto parameters = rotary_parameters(config, out.max_positions, where);
  out.rotary_base = positive(field<double>(parameters, kBase, where, 10000.0), kBase, where);
  out.rotary_scaling = scaling_of(parameters, out.max_positions, where);
  QUIVER_CHECK(field<double>(parameters, kPartial, where, 1.0) == 1.0, unsupported, where,
               "rotary positions on a part of each head ({} = {}), expected on all of it", kPartial,
               parameters[kPartial].dump());
}

void read_rotary(const tensor_io::GgufFile& file, const std::string& architecture, const std::string& where,
                 DecoderConfig& out) {
  const auto prefix = architecture + ".rope.";
  constexpr std::array kKnown{"freq_base",           "dimension_count",  "scaling.type",
                              "scaling.factor",      "scale_linear",     "scaling.original_context_length",
                              "scaling.attn_factor", "scaling.finetuned"};
  for (const auto& [key, value] : file.metadata()) {
    QUIVER_CHECK(
        !key.starts_with(prefix) || std::find(kKnown.begin(), kKnown.end(), key.substr(prefix.size())) != kKnown.end(),
        unsupported, where, "metadata '{}' changes rotary positions in a way that is not read", key);
  }
  const auto read = [&](const char* key, double fallback) {
    return positive(file.find_number(prefix + key).value_or(fallback), prefix + key, where);
  };
  const auto width = file.find_integer(prefix + "dimension_count").value_or(out.head_width);
  QUIVER_CHECK(width == out.head_width, unsupported, where,
               "rotary positions on {} of the {} numbers of each head, expected on all", width, out.head_width);
  out.rotary_base = read("freq_base", 10000.0);
  auto& s = out.rotary_scaling;
  // As llama.cpp has it: linear where the file names no kind, and a factor of 0 is none.
  const auto kind = file.find_text(prefix + "scaling.type").value_or("linear");
  QUIVER_CHECK(kind == "none" || kind == "linear" || kind == "yarn", unsupported, where,
               "rotary scaling '{}', expected none, linear or yarn", kind);
  const auto stored =
      file.find_number(prefix + "scaling.factor").value_or(file.find_number(prefix + "scale_linear").value_or(0.0));
  const auto factor = stored == 0.0 ? 1.0 : positive(stored, prefix + "scaling.factor", where);
  if (kind != "none" && factor != 1.0) {
    s.kind = kind == "yarn" ? Kind::yarn : Kind::linear;
    s.factor = factor;
  }
  s.original_positions = read("scaling.original_context_length", static_cast<double>(out.max_positions));
  s.scale = read("scaling.attn_factor", 1.0) * (s.kind == Kind::yarn ? yarn_sharpness(s.factor) : 1.0);
}

}  // namespace quiver::model
