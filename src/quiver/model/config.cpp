// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/config.h"

#include "quiver/base/error.h"

namespace quiver::model {
namespace {

void in_range(const char* name, std::int64_t value, std::int64_t limit, const std::string& where) {
  QUIVER_CHECK(value >= 1 && value <= limit, format, where, "{} = {}, expected 1 to {}", name, value, limit);
}

void check_shape(const ModelConfig& c, const std::string& where) {
  in_range("vocabulary size", c.vocabulary, 1 << 24, where);
  in_range("hidden size", c.hidden, 1 << 20, where);
  in_range("number of layers", c.layers, 4096, where);
  in_range("number of attention heads", c.heads, 4096, where);
  in_range("head width", c.head_width, 1 << 16, where);
  in_range("feed-forward size", c.feed_forward, 1 << 22, where);
  QUIVER_CHECK(c.norm_epsilon > 0 && c.norm_epsilon < 1, format, where,
               "norm epsilon {}, expected a small positive number", c.norm_epsilon);
}

}  // namespace

void check(const DecoderConfig& c, const std::string& where) {
  check_shape(c, where);
  in_range("number of key-value heads", c.kv_heads, c.heads, where);
  QUIVER_CHECK(c.heads % c.kv_heads == 0, format, where, "{} attention heads are not a multiple of {} key-value heads",
               c.heads, c.kv_heads);
  QUIVER_CHECK(c.head_width % 2 == 0, format, where, "head width {} is odd, rotary positions need an even one",
               c.head_width);
  QUIVER_CHECK(c.rotary_base > 0, format, where, "rotary base {}, expected a positive number", c.rotary_base);
  const bool by_logarithm = c.rotary_scaling.kind == RotaryScaling::Kind::yarn;
  QUIVER_CHECK(!by_logarithm || c.rotary_base > 1, format, where, "rotary base {} under yarn, expected more than 1",
               c.rotary_base);
}

void check(const EncoderDecoderConfig& c, const std::string& where) {
  check_shape(c, where);
  in_range("number of encoder layers", c.encoder_layers, c.layers - 1, where);
  QUIVER_CHECK(c.buckets >= 4 && c.buckets <= 4096, format, where, "{} relative position buckets, expected 4 to 4096",
               c.buckets);
  QUIVER_CHECK(c.max_distance > c.buckets / 2 && c.max_distance <= 1 << 20, format, where,
               "largest relative distance {}, expected more than half of the {} buckets", c.max_distance, c.buckets);
  QUIVER_CHECK(c.answer_start >= 0 && c.answer_start < c.vocabulary, format, where,
               "decoder start token {}, expected one of the vocabulary of {}", c.answer_start, c.vocabulary);
}

}  // namespace quiver::model
