// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/pre_tokenizer.h"

#include <algorithm>

#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

struct Piece {
  std::size_t begin, end;
  bool delimiter;
};

// Pieces that cover the text: matches and what lies between.
std::vector<Piece> cover(const SplitStep& step, std::string_view text, MatchScratch& scratch) {
  std::vector<Piece> pieces;
  std::size_t at = 0;
  while (at < text.size()) {
    const auto match = step.pattern.find(text, at, scratch);
    const auto gap_end = match ? match->begin : text.size();
    if (gap_end > at) pieces.push_back({at, gap_end, step.invert});
    if (!match) break;
    pieces.push_back({match->begin, match->end, !step.invert});
    at = match->end;
  }
  return pieces;
}

std::vector<Piece> join_neighbours(const std::vector<Piece>& pieces, SplitBehavior behavior) {
  std::vector<Piece> joined;
  const bool forward = behavior != SplitBehavior::merged_with_next;
  bool previous = false;  // whether the piece before was a delimiter
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto& piece = pieces[forward ? i : pieces.size() - 1 - i];
    const bool join = !joined.empty() && (behavior == SplitBehavior::contiguous ? piece.delimiter == previous
                                                                                : piece.delimiter && !previous);
    if (!join) {
      joined.push_back(piece);
    } else if (forward) {
      joined.back().end = piece.end;
    } else {
      joined.back().begin = piece.begin;
    }
    previous = piece.delimiter;
  }
  if (!forward) std::reverse(joined.begin(), joined.end());
  return joined;
}

// Walks the steps depth first, so that parts need no storage.
class Splitter {
 public:
  Splitter(const PreTokenizer& steps, MatchScratch& scratch, const std::function<void(std::string_view)>& sink)
      : steps_(steps), scratch_(scratch), sink_(sink) {}

  void run(std::size_t depth, Part part) {
    if (part.text.empty()) return;
    if (depth == steps_.size()) return sink_(part.text);
    std::visit([&](const auto& step) { split(step, depth, part); }, steps_[depth]);
  }

 private:
  void pass(std::size_t depth, const Part& part, std::size_t begin, std::size_t end) {
    run(depth + 1, {part.text.substr(begin, end - begin), part.first && begin == 0});
  }

  void split(const SplitStep& step, std::size_t depth, const Part& part) {
    if (step.behavior == SplitBehavior::isolated) return split_isolated(step, depth, part);
    auto pieces = cover(step, part.text, scratch_);
    if (step.behavior != SplitBehavior::removed) pieces = join_neighbours(pieces, step.behavior);
    for (const auto& piece : pieces) {
      if (step.behavior == SplitBehavior::removed && piece.delimiter) continue;
      pass(depth, part, piece.begin, piece.end);
    }
  }

  // The common case, without a list of pieces.
  void split_isolated(const SplitStep& step, std::size_t depth, const Part& part) {
    std::size_t at = 0;
    while (at < part.text.size()) {
      const auto match = step.pattern.find(part.text, at, scratch_);
      if (!match) break;
      pass(depth, part, at, match->begin);
      pass(depth, part, match->begin, match->end);
      at = match->end;
    }
    pass(depth, part, at, part.text.size());
  }

  void split(const DigitsStep& step, std::size_t depth, const Part& part) {
    std::size_t begin = 0;
    bool previous = false;
    for (std::size_t at = 0; at < part.text.size();) {
      const auto [code_point, bytes] = character_at(part.text, at);
      const bool numeric = is_numeric(code_point);
      if (at > begin && (numeric != previous || (numeric && step.individual))) {
        pass(depth, part, begin, at);
        begin = at;
      }
      previous = numeric;
      at += bytes;
    }
    pass(depth, part, begin, part.text.size());
  }

  void split(const PrefixSpaceStep&, std::size_t depth, const Part& part) {
    if (part.text.starts_with(' ')) return run(depth + 1, part);
    std::string prefixed(1, ' ');
    prefixed += part.text;
    run(depth + 1, {prefixed, part.first});
  }

  void split(const WhitespaceSplitStep&, std::size_t depth, const Part& part) {
    for (auto begin = skip_white_space(part.text, 0); begin < part.text.size();) {
      auto end = begin;
      while (end < part.text.size()) {
        const auto [code_point, bytes] = character_at(part.text, end);
        if (is_white_space(code_point)) break;
        end += bytes;
      }
      pass(depth, part, begin, end);
      begin = skip_white_space(part.text, end);
    }
  }

  void split(const MetaspaceStep& step, std::size_t depth, const Part& part) {
    const auto text = escape(step, part);
    if (!step.split) return run(depth + 1, {text, part.first});
    for (std::size_t begin = 0; begin < text.size();) {
      const auto end = std::min(text.find(step.replacement, begin + 1), text.size());
      pass(depth, {text, part.first}, begin, end);
      begin = end;
    }
  }

  static std::string escape(const MetaspaceStep& step, const Part& part) {
    const bool wanted =
        step.prepend == MetaspaceStep::Prepend::always || (step.prepend == MetaspaceStep::Prepend::first && part.first);
    const bool there = part.text.starts_with(' ') || part.text.starts_with(step.replacement);
    std::string text;
    text.reserve(part.text.size() + step.replacement.size());
    if (wanted && !there) text = step.replacement;
    for (std::size_t at = 0; at < part.text.size();) {
      const auto space = std::min(part.text.find(' ', at), part.text.size());
      text += part.text.substr(at, space - at);
      if (space < part.text.size()) text += step.replacement;
      at = space + 1;
    }
    return text;
  }

  const PreTokenizer& steps_;
  MatchScratch& scratch_;
  const std::function<void(std::string_view)>& sink_;
};

}  // namespace

void split_words(const PreTokenizer& pre_tokenizer, Part part, MatchScratch& scratch,
                 const std::function<void(std::string_view)>& sink) {
  Splitter(pre_tokenizer, scratch, sink).run(0, part);
}

}  // namespace quiver::text
