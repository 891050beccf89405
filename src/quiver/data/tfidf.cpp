// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/tfidf.h"

#include <utf8proc.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <unordered_map>

#include "quiver/base/error.h"
#include "quiver/text/unicode.h"

namespace quiver::data {
namespace {

using Counts = std::unordered_map<std::string, std::uint32_t>;

/// Runs of two or more word characters, in lower case and in their order.
std::vector<std::string> words_of(std::string_view bytes) {
  const auto text = text::to_valid_utf8(bytes);
  std::vector<std::string> words;
  std::string word;
  std::size_t characters = 0;
  const auto close = [&] {
    if (characters >= 2) words.push_back(word);
    word.clear();
    characters = 0;
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto c = text::character_at(text, at);
    at += c.bytes;
    if (!text::is_word_character(c.code_point)) {
      close();
      continue;
    }
    const auto lower = utf8proc_tolower(static_cast<utf8proc_int32_t>(c.code_point));
    text::append_utf8(static_cast<char32_t>(lower), word);
    ++characters;
  }
  close();
  return words;
}

Counts count_terms(std::string_view text, const TfidfOptions& options) {
  const auto words = words_of(text);
  Counts counts;
  for (std::size_t i = 0; i < words.size(); ++i) {
    ++counts[words[i]];
    if (options.bigrams && i + 1 < words.size()) ++counts[words[i] + " " + words[i + 1]];
  }
  return counts;
}

}  // namespace

Tfidf fit_tfidf(const std::vector<std::string>& texts, const TfidfOptions& options) {
  std::map<std::string, std::size_t> texts_with;
  for (const auto& text : texts) {
    for (const auto& [term, count] : count_terms(text, options)) ++texts_with[term];
  }
  Tfidf out{options, {}, {}};
  const auto n = static_cast<double>(texts.size());
  for (const auto& [term, count] : texts_with) {
    out.terms.push_back(term);
    out.idf.push_back(std::log((1.0 + n) / (1.0 + static_cast<double>(count))) + 1.0);
  }
  return out;
}

SparseVector transform(const Tfidf& tfidf, std::string_view text) {
  SparseVector out;
  for (const auto& [term, count] : count_terms(text, tfidf.options)) {
    const auto found = std::lower_bound(tfidf.terms.begin(), tfidf.terms.end(), term);
    if (found == tfidf.terms.end() || *found != term) continue;
    const auto number = static_cast<std::size_t>(found - tfidf.terms.begin());
    out.emplace_back(static_cast<std::uint32_t>(number), count * tfidf.idf[number]);
  }
  std::sort(out.begin(), out.end());
  double squares = 0.0;
  for (const auto& [term, value] : out) squares += value * value;
  for (auto& [term, value] : out) value /= std::sqrt(squares);
  return out;
}

double cosine(const SparseVector& a, const SparseVector& b) {
  double sum = 0.0;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i].first == b[j].first) {
      sum += a[i++].second * b[j++].second;
    } else {
      ++(a[i].first < b[j].first ? i : j);
    }
  }
  return sum;
}

nlohmann::json save_tfidf(const Tfidf& tfidf) {
  return {{"bigrams", tfidf.options.bigrams}, {"terms", tfidf.terms}, {"idf", tfidf.idf}};
}

Tfidf load_tfidf(const nlohmann::json& saved, const std::string& where) {
  Tfidf out;
  try {
    saved.at("bigrams").get_to(out.options.bigrams);
    saved.at("terms").get_to(out.terms);
    saved.at("idf").get_to(out.idf);
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::format, where, "not TF-IDF weights: {}", error.what());
  }
  QUIVER_CHECK(out.idf.size() == out.terms.size(), format, where, "{} weights for {} terms", out.idf.size(),
               out.terms.size());
  QUIVER_CHECK(std::adjacent_find(out.terms.begin(), out.terms.end(), std::greater_equal<>()) == out.terms.end(),
               format, where, "the terms do not ascend");
  for (std::size_t i = 0; i < out.idf.size(); ++i) {
    QUIVER_CHECK(std::isfinite(out.idf[i]) && out.idf[i] > 0, format, where, "the weight of '{}' is {}, expected > 0",
                 out.terms[i], out.idf[i]);
  }
  return out;
}

}  // namespace quiver::data
