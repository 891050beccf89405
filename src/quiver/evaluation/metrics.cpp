// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/metrics.h"

#include <algorithm>
#include <cctype>

#include "quiver/base/strings.h"
#include "quiver/evaluation/unicode_text.h"
#include "quiver/text/unicode.h"

namespace quiver::evaluation {
namespace {

bool is_punctuation(char c) { return static_cast<unsigned char>(c) < 0x80 && std::ispunct(c) != 0; }
bool is_rouge_character(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/// Python's re.sub(r"\b(a|an|the)\b", " ", text).
std::string without_articles(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    auto end = at;
    while (end < text.size()) {
      const auto character = text::character_at(text, end);
      if (!is_word_character(character.code_point)) break;
      end += character.bytes;
    }
    if (end == at) end += text::character_at(text, at).bytes;
    const auto word = std::string_view(text).substr(at, end - at);
    const bool article = word == "a" || word == "an" || word == "the";
    out += article ? " " : word;
    at = end;
  }
  return out;
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
  const auto predicted = split_words(prediction);
  auto wanted = split_words(reference);
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

std::string first_line(std::string_view text) { return strip(text.substr(0, text.find('\n'))); }

std::string normalise(std::string_view text, const NormaliseOptions& options) {
  std::string kept = options.lower ? lower(text) : text::to_valid_utf8(text);
  if (options.punctuation) std::erase_if(kept, is_punctuation);
  if (options.articles) kept = without_articles(kept);
  return join(split_words(kept), " ");
}

bool exact_match(std::string_view prediction, const std::vector<std::string>& references) {
  const auto said = strip(prediction);
  return std::any_of(references.begin(), references.end(),
                     [&](const auto& reference) { return strip(reference) == said; });
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
  for (const auto& reference : references) {
    const bool unanswerable = strip(reference).empty();
    best =
        std::max(best, unanswerable ? (normal.empty() ? 1.0 : 0.0) : common_f1(normal, normalise(reference, kSquad)));
  }
  return best;
}

std::vector<std::string> rouge_words(std::string_view text) {
  const auto letters = lower(text);
  std::vector<std::string> words;
  for (auto begin = letters.begin(); begin != letters.end();) {
    begin = std::find_if(begin, letters.end(), is_rouge_character);
    const auto end = std::find_if_not(begin, letters.end(), is_rouge_character);
    if (begin != end) words.emplace_back(begin, end);
    begin = end;
  }
  return words;
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
