// SPDX-License-Identifier: Apache-2.0
// TF-IDF: a text as the words it holds, rare words counting more.
//
//   value(t, text) = count(t, text) * idf(t),   idf(t) = ln((1 + n) / (1 + texts with t)) + 1,   scaled to length 1
//
// A word is two or more word characters in a row, in lower case. On ASCII text this equals scikit-learn's
// TfidfVectorizer with its defaults (or ngram_range=(1, 2)). Plain values; reading is thread-safe.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quiver::data {

struct TfidfOptions {
  bool bigrams = false;  ///< also two neighbouring words as one term; several times as many terms
};

struct Tfidf {
  TfidfOptions options;
  std::vector<std::string> terms;  ///< sorted, each once; a bigram's words are parted by one space
  std::vector<double> idf;         ///< of each term
};

/// (number of the term, value), ascending; of length 1, or empty where the text has no known term.
using SparseVector = std::vector<std::pair<std::uint32_t, double>>;

/// The terms of `texts` and their weights.
Tfidf fit_tfidf(const std::vector<std::string>& texts, const TfidfOptions& options = {});

/// Terms that `tfidf` does not know are left out.
SparseVector transform(const Tfidf& tfidf, std::string_view text);

/// Of two vectors that `transform` made; 0 where one is empty.
double cosine(const SparseVector& a, const SparseVector& b);

/// {"bigrams", "terms", "idf"}
nlohmann::json save_tfidf(const Tfidf& tfidf);
/// The reverse. Throws Error{format} naming `where`, unless there is a positive weight per term and the terms ascend.
Tfidf load_tfidf(const nlohmann::json& saved, const std::string& where);

}  // namespace quiver::data
