// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/rotary.h"

#include <ATen/ops/cos.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tensor.h>

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

double scaled(double frequency, std::size_t index, const RotaryScaling& s) {
  if (!s.divisors.empty()) return frequency / static_cast<double>(s.divisors[index]);
  switch (s.kind) {
    case RotaryScaling::Kind::none:
      return frequency;
    case RotaryScaling::Kind::linear:
      return frequency / s.factor;
    case RotaryScaling::Kind::llama3:
      return llama3_scaled(frequency, s);
  }
  return frequency;
}

}  // namespace

RotaryTable::RotaryTable(const DecoderConfig& config) {
  const auto half = static_cast<std::size_t>(config.head_width / 2);
  QUIVER_CHECK(config.rotary_scaling.divisors.empty() || config.rotary_scaling.divisors.size() == half, format,
               "rotary", "{} frequency divisors for {} frequencies", config.rotary_scaling.divisors.size(), half);
  std::vector<float> values;
  for (std::size_t i = 0; i < half; ++i) {
    const double frequency = std::pow(config.rotary_base, -static_cast<double>(i) / static_cast<double>(half));
    values.push_back(static_cast<float>(scaled(frequency, i, config.rotary_scaling)));
  }
  frequencies_ = at::tensor(values, at::kFloat);
}

RotaryTable::Angles RotaryTable::at_positions(const at::Tensor& positions) const {
  const auto angles = positions.to(at::kFloat).unsqueeze(1).mul(frequencies_.unsqueeze(0));
  return {at::cos(angles), at::sin(angles)};
}

}  // namespace quiver::model
