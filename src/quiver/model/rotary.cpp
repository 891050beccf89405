// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/rotary.h"

#include <ATen/ops/cos.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "quiver/base/error.h"

namespace quiver::model {
namespace {

/// Llama 3's smooth band: high frequencies stay, low ones are divided by the factor, those between are blended.
double llama3_scaled(double frequency, const RotaryScaling& s) {
  const double wavelength = 2.0 * std::numbers::pi / frequency;
  if (wavelength < s.original_positions / s.high_frequency_factor) return frequency;
  if (wavelength > s.original_positions / s.low_frequency_factor) return frequency / s.factor;
  const double smooth =
      (s.original_positions / wavelength - s.low_frequency_factor) / (s.high_frequency_factor - s.low_frequency_factor);
  return (1.0 - smooth) * frequency / s.factor + smooth * frequency;
}

/// YaRN (Peng et al., 2023): frequencies that turn often within the first context stay, those that turn hardly are
/// divided by the factor, and shares grow linearly between, by the frequency's number.
double yarn_scaled(double frequency, std::size_t index, const DecoderConfig& c) {
  const auto& s = c.rotary_scaling;
  const auto width = static_cast<double>(c.head_width);
  const auto bound = [&](double turns) {
    return width * std::log(s.original_positions / (turns * 2.0 * std::numbers::pi)) / (2.0 * std::log(c.rotary_base));
  };
  double low = bound(s.beta_fast), high = bound(s.beta_slow);
  if (s.whole_bounds) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, width - 1.0);
  if (low == high) high += 0.001;
  const double share = std::clamp((static_cast<double>(index) - low) / (high - low), 0.0, 1.0);
  return frequency / s.factor * share + frequency * (1.0 - share);
}

double scaled(double frequency, std::size_t index, const DecoderConfig& c) {
  const auto& s = c.rotary_scaling;
  if (!s.divisors.empty()) frequency /= static_cast<double>(s.divisors[index]);
  switch (s.kind) {
    case RotaryScaling::Kind::none:
      return frequency;
    case RotaryScaling::Kind::linear:
      return frequency / s.factor;
    case RotaryScaling::Kind::llama3:
      return llama3_scaled(frequency, s);
    case RotaryScaling::Kind::yarn:
      return yarn_scaled(frequency, index, c);
  }
  return frequency;
}

}  // namespace

RotaryTable::RotaryTable(const DecoderConfig& config) : scale_(config.rotary_scaling.scale) {
  const auto half = static_cast<std::size_t>(config.head_width / 2);
  QUIVER_CHECK(config.rotary_scaling.divisors.empty() || config.rotary_scaling.divisors.size() == half, format,
               "rotary", "{} frequency divisors for {} frequencies", config.rotary_scaling.divisors.size(), half);
  std::vector<float> values;
  for (std::size_t i = 0; i < half; ++i) {
    const double frequency = std::pow(config.rotary_base, -static_cast<double>(i) / static_cast<double>(half));
    values.push_back(static_cast<float>(scaled(frequency, i, config)));
  }
  frequencies_ = at::tensor(values, at::kFloat);
}

RotaryTable::Angles RotaryTable::at_positions(const at::Tensor& positions) const {
  const auto angles = positions.to(at::kFloat).unsqueeze(1).mul(frequencies_.unsqueeze(0));
  if (scale_ == 1.0) return {at::cos(angles), at::sin(angles)};
  return {at::cos(angles).mul(scale_), at::sin(angles).mul(scale_)};
}

}  // namespace quiver::model
