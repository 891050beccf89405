// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/gguf_types.h"

#include <c10/util/Half.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace quiver::tensor_io {
namespace {

constexpr GgufTypeInfo kTypes[] = {
    {GgufType::F32, "F32", 1, 4},       {GgufType::F16, "F16", 1, 2},       {GgufType::BF16, "BF16", 1, 2},
    {GgufType::Q4_0, "Q4_0", 32, 18},   {GgufType::Q4_1, "Q4_1", 32, 20},   {GgufType::Q5_0, "Q5_0", 32, 22},
    {GgufType::Q5_1, "Q5_1", 32, 24},   {GgufType::Q8_0, "Q8_0", 32, 34},   {GgufType::Q4_K, "Q4_K", 256, 144},
    {GgufType::Q5_K, "Q5_K", 256, 176}, {GgufType::Q6_K, "Q6_K", 256, 210},
};

using Bytes = const std::uint8_t*;

float half_at(Bytes p) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, p, sizeof bits);
  return c10::Half(bits, c10::Half::from_bits());
}

/// d | 16 bytes of two values each: value j in the low half of byte j, value j + 16 in the high half.
void q4_0(Bytes b, float* out) {
  const float d = half_at(b);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((b[2 + j] & 15) - 8);
    out[j + 16] = d * static_cast<float>((b[2 + j] >> 4) - 8);
  }
}

/// d | m | as Q4_0, unsigned.
void q4_1(Bytes b, float* out) {
  const float d = half_at(b), m = half_at(b + 2);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(b[4 + j] & 15) + m;
    out[j + 16] = d * static_cast<float>(b[4 + j] >> 4) + m;
  }
}

/// The fifth bits of 32 values follow the scales as one little-endian word.
void q5(Bytes low, Bytes high, float d, float offset, int bias, float* out) {
  std::uint32_t fifth = 0;
  std::memcpy(&fifth, high, sizeof fifth);
  for (int j = 0; j < 16; ++j) {
    const int a = (low[j] & 15) | static_cast<int>((fifth >> j) & 1) << 4;
    const int b = (low[j] >> 4) | static_cast<int>((fifth >> (j + 16)) & 1) << 4;
    out[j] = d * static_cast<float>(a - bias) + offset;
    out[j + 16] = d * static_cast<float>(b - bias) + offset;
  }
}

void q5_0(Bytes b, float* out) { q5(b + 6, b + 2, half_at(b), 0.0f, 16, out); }
void q5_1(Bytes b, float* out) { q5(b + 8, b + 4, half_at(b), half_at(b + 2), 0, out); }

void q8_0(Bytes b, float* out) {
  const float d = half_at(b);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(static_cast<std::int8_t>(b[2 + j]));
}

/// Six-bit scale and minimum of sub-block j, from the 12 packed bytes of the K types.
struct ScaleMin {
  int scale, minimum;
};
ScaleMin scale_min(int j, Bytes packed) {
  if (j < 4) return {packed[j] & 63, packed[j + 4] & 63};
  return {(packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4, (packed[j + 4] >> 4) | (packed[j] >> 6) << 4};
}

/// Eight sub-blocks of 32; `fifth` is null for Q4_K, else 32 bytes whose bit s is the fifth bit of sub-block s.
void k_block(Bytes scales, Bytes low, Bytes fifth, float d, float dmin, float* out) {
  for (int sub = 0; sub < 8; ++sub) {
    const auto [scale, minimum] = scale_min(sub, scales);
    const float s = d * static_cast<float>(scale), m = dmin * static_cast<float>(minimum);
    const std::uint8_t* bytes = low + sub / 2 * 32;
    for (int l = 0; l < 32; ++l) {
      const int four = sub % 2 ? bytes[l] >> 4 : bytes[l] & 15;
      const int high = fifth ? ((fifth[l] >> sub) & 1) << 4 : 0;
      out[sub * 32 + l] = s * static_cast<float>(four + high) - m;
    }
  }
}

void q4_k(Bytes b, float* out) { k_block(b + 4, b + 16, nullptr, half_at(b), half_at(b + 2), out); }
void q5_k(Bytes b, float* out) { k_block(b + 4, b + 48, b + 16, half_at(b), half_at(b + 2), out); }

/// 128 bytes of low nibbles | 64 of high bit pairs | 16 int8 scales | d.
void q6_k(Bytes b, float* out) {
  const float d = half_at(b + 208);
  for (int half = 0; half < 2; ++half) {
    const std::uint8_t *low = b + half * 64, *high = b + 128 + half * 32, *scales = b + 192 + half * 8;
    for (int quarter = 0; quarter < 4; ++quarter) {
      for (int l = 0; l < 32; ++l) {
        const std::uint8_t byte = low[l + quarter % 2 * 32];
        const int four = quarter < 2 ? byte & 15 : byte >> 4;
        const int q = (four | ((high[l] >> (2 * quarter)) & 3) << 4) - 32;
        const auto scale = static_cast<std::int8_t>(scales[l / 16 + 2 * quarter]);
        out[half * 128 + quarter * 32 + l] = d * static_cast<float>(scale) * static_cast<float>(q);
      }
    }
  }
}

}  // namespace

const GgufTypeInfo* gguf_type_info(std::uint32_t code) {
  const auto found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const auto& t) { return static_cast<std::uint32_t>(t.type) == code; });
  return found == std::end(kTypes) ? nullptr : found;
}

void dequantise(GgufType type, const std::byte* blocks, std::int64_t count, float* out) {
  void (*expand)(Bytes, float*) = nullptr;
  switch (type) {
    case GgufType::Q4_0:
      expand = q4_0;
      break;
    case GgufType::Q4_1:
      expand = q4_1;
      break;
    case GgufType::Q5_0:
      expand = q5_0;
      break;
    case GgufType::Q5_1:
      expand = q5_1;
      break;
    case GgufType::Q8_0:
      expand = q8_0;
      break;
    case GgufType::Q4_K:
      expand = q4_k;
      break;
    case GgufType::Q5_K:
      expand = q5_k;
      break;
    case GgufType::Q6_K:
      expand = q6_k;
      break;
    case GgufType::F32:
    case GgufType::F16:
    case GgufType::BF16:
      return;
  }
  const auto& info = *gguf_type_info(static_cast<std::uint32_t>(type));
  const auto* next = reinterpret_cast<Bytes>(blocks);
  for (std::int64_t i = 0; i < count; ++i, next += info.block_bytes, out += info.block_values) expand(next, out);
}

}  // namespace quiver::tensor_io
