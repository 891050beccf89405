// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/metrics.h"

#include <algorithm>
#include <cctype>

#include "quiver/base/strings.h"

namespace quiver::evaluation {
namespace {

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
bool is_punctuation(char c) { return std::ispunct(static_cast<unsigned char>(c)) != 0; }
bool is_word_char(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

std::vector<std::string> split_words(std::string_view text, bool (*in_word)(char)) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < text.size();) {
    auto end = begin;
    while (end < text.size() && in_word(text[end])) ++end;
    if (end > begin) words.emplace_back(text.substr(begin, end - begin));
    begin = std::max(end, begin + 1);
  }
  return words;
}

std::size_t common_subsequence(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::vector<std::size_t> row(b.size() + 1, 0);
  for (const auto& word : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = word == b[j - 1] ? diagonal + 1 : std::max(above, row[j - 1]);
      diagonal = above;
    }
  }
  return row.back();
}

const NormaliseOptions kSquad{.articles = true};

double common_f1(std::string_view prediction, std::string_view reference) {
  const auto predicted = split_words(prediction, [](char c) { return !is_space(c); });
  auto wanted = split_words(reference, [](char c) { return !is_space(c); });
  const auto wanted_words = static_cast<double>(wanted.size());
  double common = 0;
  for (const auto& word : predicted) {
    const auto found = std::find(wanted.begin(), wanted.end(), word);
    if (found == wanted.end()) continue;
    wanted.erase(found);
    ++common;
  }
  if (common == 0) return 0;
  const double precision = common / static_cast<double>(predicted.size()), recall = common / wanted_words;
  return 2 * precision * recall / (precision + recall);
}

}  // namespace

std::string first_line(std::string_view text) { return trim(text.substr(0, text.find('\n'))); }

std::string normalise(std::string_view text, const NormaliseOptions& options) {
  std::string kept = options.lower ? lower_ascii(text) : std::string(text);
  if (options.punctuation) std::erase_if(kept, is_punctuation);
  auto words = split_words(kept, [](char c) { return !is_space(c); });
  if (options.articles) {
    std::erase_if(words, [](const std::string& word) { return word == "a" || word == "an" || word == "the"; });
  }
  return join(words, " ");
}

bool exact_match(std::string_view prediction, const std::vector<std::string>& references) {
  return std::find(references.begin(), references.end(), prediction) != references.end();
}

bool normalised_exact_match(std::string_view prediction, const std::vector<std::string>& references,
                            const NormaliseOptions& options) {
  const auto wanted = normalise(prediction, options);
  return std::any_of(references.begin(), references.end(),
                     [&](const auto& reference) { return normalise(reference, options) == wanted; });
}

double squad_exact_match(std::string_view prediction, const std::vector<std::string>& references) {
  return normalised_exact_match(prediction, references, kSquad) ? 1.0 : 0.0;
}

double squad_f1(std::string_view prediction, const std::vector<std::string>& references) {
  const auto normal = normalise(prediction, kSquad);
  double best = 0;
  for (const auto& reference : references) best = std::max(best, common_f1(normal, normalise(reference, kSquad)));
  return best;
}

std::vector<std::string> rouge_words(std::string_view text) {
  auto lower = lower_ascii(text);
  // The two letters outside ASCII whose lower case holds an ASCII letter: the Kelvin sign and the dotted capital I.
  replace_all(lower, "\xE2\x84\xAA", "k");
  replace_all(lower, "\xC4\xB0", "i\xCC\x87");
  return split_words(lower, is_word_char);
}

RougeScore rouge_l(std::string_view prediction, std::string_view reference) {
  const auto predicted = rouge_words(prediction), wanted = rouge_words(reference);
  if (predicted.empty() || wanted.empty()) return {};
  const auto common = static_cast<double>(common_subsequence(predicted, wanted));
  RougeScore score{common / static_cast<double>(predicted.size()), common / static_cast<double>(wanted.size()), 0};
  if (common > 0) score.f1 = 2 * score.precision * score.recall / (score.precision + score.recall);
  return score;
}

double rouge_l_f1(std::string_view prediction, const std::vector<std::string>& references) {
  double best = 0;
  for (const auto& reference : references) best = std::max(best, rouge_l(prediction, reference).f1);
  return best;
}

}  // namespace quiver::evaluation
