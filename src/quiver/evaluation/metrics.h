// SPDX-License-Identifier: Apache-2.0
// Metrics of generated text against the right answers, as their official scripts compute them on any Unicode. Each
// takes the best over the references and is 0 where there are none. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace quiver::evaluation {

/// What stands before the first line break, without white space at both ends: a short answer without what the model
/// went on to write. A text that opens with a line break has an empty first line.
std::string first_line(std::string_view text);

struct NormaliseOptions {
  bool lower = true;        ///< Unicode's lower case
  bool punctuation = true;  ///< ASCII punctuation is dropped, not replaced: "don't" becomes "dont"
  bool articles = false;    ///< the words a, an, the are dropped, as SQuAD's metric does
};

/// The text as the options say, with runs of white space made one space and none at the ends.
std::string normalise(std::string_view text, const NormaliseOptions& options = {});

/// Whether the prediction equals a reference but for white space at the ends of either.
bool exact_match(std::string_view prediction, const std::vector<std::string>& references);
/// The same after normalising both.
bool normalised_exact_match(std::string_view prediction, const std::vector<std::string>& references,
                            const NormaliseOptions& options = {});

/// SQuAD's exact match and token F1 (Rajpurkar et al., 2016), the best over the references: lower case, no ASCII
/// punctuation, no articles; F1 counts common words as often as both have them, and is 0 where either has none; but
/// against an empty reference, which 1.1 has none of, an empty answer scores 1 (as in 2.0).
double squad_exact_match(std::string_view prediction, const std::vector<std::string>& references);
double squad_f1(std::string_view prediction, const std::vector<std::string>& references);

/// Rouge's words: lower case, runs of a-z and 0-9. No stemmer; MTTL's Rouge-L of Natural Instructions uses Porter's, so
/// compare with rouge_score's `use_stemmer=False`.
std::vector<std::string> rouge_words(std::string_view text);

struct RougeScore {
  double precision = 0, recall = 0, f1 = 0;
};

/// Rouge-L (Lin, 2004) of one pair by the longest common subsequence of words, as google-research's rouge_score has it
/// (`rougeL`, not the summary-level `rougeLsum`). O(words * words).
RougeScore rouge_l(std::string_view prediction, std::string_view reference);
/// The largest f1 over the references.
double rouge_l_f1(std::string_view prediction, const std::vector<std::string>& references);

}  // namespace quiver::evaluation
