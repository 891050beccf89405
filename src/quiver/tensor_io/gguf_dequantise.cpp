// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/gguf_dequantise.h"

#include <c10/util/Half.h>

#include <cstring>

#include "quiver/base/error.h"

namespace quiver::tensor_io {
namespace {

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

/// The fifth bits of 32 values stand in one little-endian word, value j's in bit j.
struct FiveBits {
  int first, second;  ///< values j and j + 16
};
FiveBits five_bits(Bytes low, std::uint32_t fifth, int j) {
  return {(low[j] & 15) | static_cast<int>(fifth >> j & 1) << 4, (low[j] >> 4) | static_cast<int>(fifth >> (j + 16) & 1)
                                                                                     << 4};
}

std::uint32_t word_at(Bytes p) {
  std::uint32_t word = 0;
  std::memcpy(&word, p, sizeof word);
  return word;
}

/// d | fifth bits | 16 bytes of low bits.
void q5_0(Bytes b, float* out) {
  const float d = half_at(b);
  for (int j = 0; j < 16; ++j) {
    const auto [first, second] = five_bits(b + 6, word_at(b + 2), j);
    out[j] = d * static_cast<float>(first - 16);
    out[j + 16] = d * static_cast<float>(second - 16);
  }
}

/// d | m | fifth bits | 16 bytes of low bits.
void q5_1(Bytes b, float* out) {
  const float d = half_at(b), m = half_at(b + 2);
  for (int j = 0; j < 16; ++j) {
    const auto [first, second] = five_bits(b + 8, word_at(b + 4), j);
    out[j] = d * static_cast<float>(first) + m;
    out[j + 16] = d * static_cast<float>(second) + m;
  }
}

/// d | 32 int8.
void q8_0(Bytes b, float* out) {
  const float d = half_at(b);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(static_cast<std::int8_t>(b[2 + j]));
}

/// The pair of bits of value v of 256: four values, 32 apart, share a byte of 64.
int two_bits(Bytes bytes, int v) { return bytes[v / 128 * 32 + v % 32] >> (2 * (v / 32 % 4)) & 3; }

/// 16 bytes, each a scale and above it a minimum of 16 values | 64 bytes of bit pairs | d | dmin.
void q2_k(Bytes b, float* out) {
  const float d = half_at(b + 80), dmin = half_at(b + 82);
  for (int v = 0; v < 256; ++v) {
    const auto packed = b[v / 16];
    out[v] = d * static_cast<float>(packed & 15) * static_cast<float>(two_bits(b + 16, v)) -
             dmin * static_cast<float>(packed >> 4);
  }
}

/// 32 bytes whose bit s is clear where value s * 32 + l is 4 less | 64 bytes of bit pairs | 16 six-bit scales | d.
void q3_k(Bytes b, float* out) {
  const std::uint8_t* scales = b + 96;
  const float d = half_at(b + 108);
  for (int v = 0; v < 256; ++v) {
    const int sub = v / 16;
    const int low = sub < 8 ? scales[sub] & 15 : scales[sub - 8] >> 4,
              high = scales[8 + sub % 4] >> (2 * (sub / 4)) & 3;
    const int less = b[v % 32] >> (v / 32) & 1 ? 0 : 4;
    out[v] = d * static_cast<float>((low | high << 4) - 32) * static_cast<float>(two_bits(b + 32, v) - less);
  }
}

/// What the IQ4 types' four bits stand for.
constexpr std::int8_t kUneven[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// 16 bytes: value j in the low half of byte j, value j + 16 in the high half.
void uneven(Bytes b, float d, float* out) {
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(kUneven[b[j] & 15]);
    out[j + 16] = d * static_cast<float>(kUneven[b[j] >> 4]);
  }
}

/// d | 16 bytes of two values each.
void iq4_nl(Bytes b, float* out) { uneven(b + 2, half_at(b), out); }

/// d | two high bits of each of 8 scales | their four low bits | 8 times 16 bytes of two values each.
void iq4_xs(Bytes b, float* out) {
  const float d = half_at(b);
  const int high = b[2] | b[3] << 8;
  for (int sub = 0; sub < 8; ++sub) {
    const int low = sub % 2 ? b[4 + sub / 2] >> 4 : b[4 + sub / 2] & 15;
    uneven(b + 8 + sub * 16, d * static_cast<float>((low | (high >> (2 * sub) & 3) << 4) - 32), out + sub * 32);
  }
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

using Expand = void (*)(Bytes, float*);

Expand expansion_of(GgufType type) {
  switch (type) {
    case GgufType::Q4_0:
      return q4_0;
    case GgufType::Q4_1:
      return q4_1;
    case GgufType::Q5_0:
      return q5_0;
    case GgufType::Q5_1:
      return q5_1;
    case GgufType::Q8_0:
      return q8_0;
    case GgufType::Q2_K:
      return q2_k;
    case GgufType::Q3_K:
      return q3_k;
    case GgufType::Q4_K:
      return q4_k;
    case GgufType::Q5_K:
      return q5_k;
    case GgufType::Q6_K:
      return q6_k;
    case GgufType::IQ4_NL:
      return iq4_nl;
    case GgufType::IQ4_XS:
      return iq4_xs;
    case GgufType::F32:
    case GgufType::F16:
    case GgufType::BF16:
      break;
  }
  fail(ErrorCode::unsupported, "gguf", "type {} is not quantised", gguf_type_name(static_cast<std::uint32_t>(type)));
}

}  // namespace

void dequantise(const GgufTypeInfo& type, const std::byte* blocks, std::int64_t count, float* out) {
  const auto expand = expansion_of(type.type);
  const auto* next = reinterpret_cast<Bytes>(blocks);
  for (std::int64_t i = 0; i < count; ++i, next += type.block_bytes, out += type.block_values) expand(next, out);
}

}  // namespace quiver::tensor_io
