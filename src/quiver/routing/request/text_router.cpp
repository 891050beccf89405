// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/text_router.h"

#include <cmath>
#include <map>

#include "quiver/base/error.h"

namespace quiver::routing {

using nlohmann::json;

TextProfile fit_text_profile(const std::vector<std::vector<std::string>>& prompts, const data::TfidfOptions& options) {
  std::vector<std::string> all;
  for (std::size_t e = 0; e < prompts.size(); ++e) {
    QUIVER_CHECK(!prompts[e].empty(), usage, "--route text", "no prompts for expert number {}", e);
    all.insert(all.end(), prompts[e].begin(), prompts[e].end());
  }
  TextProfile out{data::fit_tfidf(all, options), {}};
  for (const auto& own : prompts) {
    std::map<std::uint32_t, double> sum;
    for (const auto& prompt : own) {
      for (const auto& [term, value] : data::transform(out.tfidf, prompt)) sum[term] += value;
    }
    double square = 0.0;
    for (const auto& [term, value] : sum) square += value * value;
    auto& expert = out.experts.emplace_back();
    for (const auto& [term, value] : sum) expert.emplace_back(term, value / std::sqrt(square));
  }
  return out;
}

json save_text_profile(const TextProfile& profile) {
  return {{"tfidf", data::save_tfidf(profile.tfidf)}, {"experts", profile.experts}};
}

TextProfile load_text_profile(const json& saved, const std::string& where) {
  try {
    TextProfile out{data::load_tfidf(saved.at("tfidf"), where), {}};
    saved.at("experts").get_to(out.experts);
    for (const auto& expert : out.experts) {
      for (const auto& [term, value] : expert) {
        QUIVER_CHECK(term < out.tfidf.terms.size() && std::isfinite(value), format, where, "term {} of {}", term,
                     out.tfidf.terms.size());
      }
    }
    return out;
  } catch (const json::exception& error) {
    fail(ErrorCode::format, where, "not a text profile ({}); prepare the route again", error.what());
  }
}

std::vector<std::vector<ops::ExpertWeight>> TextRouter::choose(const std::vector<Request>& requests) const {
  std::vector<std::vector<ops::ExpertWeight>> out;
  for (const auto& request : requests) {
    const auto own = data::transform(profile_.tfidf, tokenizer_.decode(request.prompt, {true}));
    std::vector<double> scores;
    for (const auto& expert : profile_.experts) scores.push_back(data::cosine(own, expert));
    out.push_back(pairs_of(scores, options_));
  }
  return out;
}

}  // namespace quiver::routing
