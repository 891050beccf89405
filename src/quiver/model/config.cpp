// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/config.h"

#include "quiver/base/error.h"

namespace quiver::model {

void check(const DecoderConfig& c, const std::string& where) {
  const auto in_range = [&](const char* name, std::int64_t value, std::int64_t limit) {
    QUIVER_CHECK(value >= 1 && value <= limit, format, where, "{} = {}, expected 1 to {}", name, value, limit);
  };
  in_range("vocabulary size", c.vocabulary, 1 << 24);
  in_range("hidden size", c.hidden, 1 << 20);
  in_range("number of layers", c.layers, 4096);
  in_range("number of attention heads", c.heads, 4096);
  in_range("number of key-value heads", c.kv_heads, c.heads);
  in_range("head width", c.head_width, 1 << 16);
  in_range("feed-forward size", c.feed_forward, 1 << 22);
  QUIVER_CHECK(c.heads % c.kv_heads == 0, format, where, "{} attention heads are not a multiple of {} key-value heads",
               c.heads, c.kv_heads);
  QUIVER_CHECK(c.head_width % 2 == 0, format, where, "head width {} is odd, rotary positions need an even one",
               c.head_width);
  QUIVER_CHECK(c.norm_epsilon > 0 && c.norm_epsilon < 1, format, where,
               "norm epsilon {}, expected a small positive number", c.norm_epsilon);
  QUIVER_CHECK(c.rotary_base > 0, format, where, "rotary base {}, expected a positive number", c.rotary_base);
}

}  // namespace quiver::model
