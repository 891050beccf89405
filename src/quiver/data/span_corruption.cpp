// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/span_corruption.h"

#include <algorithm>
#include <cmath>

#include "quiver/base/error.h"

namespace quiver::data {
namespace {

struct Counts {
  std::size_t noise, spans;
};

Counts counts_of(std::size_t length, const SpanCorruption& o) {
  const auto tokens = static_cast<double>(length);
  const auto noise = std::clamp(std::lround(tokens * o.density), 1L, static_cast<long>(length) - 1);
  auto spans = std::max(1L, std::lround(static_cast<double>(noise) / o.mean_span));
  // Each span needs a token of text before it, and the target a sentinel more than there are spans.
  spans = std::min({spans, static_cast<long>(length) - noise, static_cast<long>(o.sentinels) - 1});
  return {static_cast<std::size_t>(noise), static_cast<std::size_t>(std::max(1L, spans))};
}

void check(const SpanCorruption& o) {
  QUIVER_CHECK(o.density > 0 && o.density < 1 && o.mean_span >= 1 && o.sentinels >= 2, usage, "span corruption",
               "density {}, mean span {} and {} sentinels, expected a share, at least 1 and at least 2", o.density,
               o.mean_span, o.sentinels);
}

/// `total` as `parts` random positive numbers.
std::vector<std::size_t> random_parts(std::size_t total, std::size_t parts, Random& random) {
  std::vector<bool> starts(total - 1, false);  // starts[i]: a part begins at i + 1
  std::fill(starts.begin(), starts.begin() + static_cast<std::ptrdiff_t>(parts - 1), true);
  for (std::size_t i = starts.size(); i > 1; --i) {
    const auto j = random.below(i);
    const bool other = starts[j];
    starts[j] = starts[i - 1];
    starts[i - 1] = other;
  }
  std::vector<std::size_t> out{1};
  for (const bool begins : starts) {
    if (begins) out.push_back(0);
    ++out.back();
  }
  return out;
}

}  // namespace

std::vector<bool> random_spans(std::size_t length, const SpanCorruption& o, Random& random) {
  QUIVER_CHECK(length >= 2, mismatch, "span corruption", "a text of {} tokens, expected at least 2", length);
  check(o);
  const auto [noise, spans] = counts_of(length, o);
  const auto taken = random_parts(noise, spans, random), kept = random_parts(length - noise, spans, random);
  std::vector<bool> out;
  for (std::size_t s = 0; s < spans; ++s) {
    out.insert(out.end(), kept[s], false);
    out.insert(out.end(), taken[s], true);
  }
  return out;
}

TokenRow corrupt(std::span<const std::int32_t> text, const SpanCorruption& o, Random& random) {
  const auto noise = random_spans(text.size(), o, random);
  std::vector<std::int32_t> target;
  TokenRow row;
  auto sentinel = o.first_sentinel;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!noise[i]) {
      row.ids.push_back(text[i]);
      continue;
    }
    if (i == 0 || !noise[i - 1]) {
      row.ids.push_back(sentinel);
      target.push_back(sentinel--);
    }
    target.push_back(text[i]);
  }
  target.push_back(sentinel);
  row.ids.push_back(o.end_token);
  target.push_back(o.end_token);
  row.target_begin = static_cast<std::int32_t>(row.ids.size());
  row.ids.insert(row.ids.end(), target.begin(), target.end());
  return row;
}

std::size_t corrupted_length(std::size_t source_tokens, const SpanCorruption& o) {
  constexpr std::size_t kMost = 1000;  // tokens of a text for each of its source
  check(o);
  const auto fits = [&](std::size_t length) {
    const auto [noise, spans] = counts_of(length, o);
    return length - noise + spans + 1 <= source_tokens;
  };
  QUIVER_CHECK(fits(2), usage, "span corruption", "sources of {} tokens, expected at least 3", source_tokens);
  std::size_t length = 2;
  while (length <= kMost * source_tokens && fits(length + 1)) ++length;
  QUIVER_CHECK(length <= kMost * source_tokens, usage, "span corruption",
               "density {} leaves sources of {} tokens of texts of more than {}; lower it", o.density, source_tokens,
               kMost * source_tokens);
  return length;
}

}  // namespace quiver::data
