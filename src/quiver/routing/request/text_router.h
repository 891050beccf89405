// SPDX-License-Identifier: Apache-2.0
// A task predictor from the text of the prompt: TF-IDF against the experts' own prompts. Chooses once per request.
#pragma once

#include <memory>

#include "quiver/data/tfidf.h"
#include "quiver/routing/request/request_mix.h"
#include "quiver/routing/router.h"

namespace quiver::routing {

/// Per expert, the mean of its prompts' vectors, scaled to length 1.
struct TextProfile {
  data::Tfidf tfidf;
  std::vector<data::SparseVector> experts;
};

/// prompts: of each expert. Throws Error{usage} where one has none.
TextProfile fit_text_profile(const std::vector<std::vector<std::string>>& prompts, const data::TfidfOptions& options);

nlohmann::json save_text_profile(const TextProfile& profile);
/// Throws Error{format} naming `where`.
TextProfile load_text_profile(const nlohmann::json& saved, const std::string& where);

class TextRouter : public RequestRouter {
 public:
  /// The tokenizer turns prompts back into text and must outlive the router.
  TextRouter(std::shared_ptr<const adapter::Bank> bank, TextProfile profile, const text::Tokenizer& tokenizer,
             RequestMixOptions options, ops::Combine combine)
      : RequestRouter(std::move(bank), combine),
        profile_(std::move(profile)),
        tokenizer_(tokenizer),
        options_(options) {}
  std::vector<std::vector<ops::ExpertWeight>> choose(const std::vector<Request>& requests) const override;

 private:
  TextProfile profile_;
  const text::Tokenizer& tokenizer_;
  RequestMixOptions options_;
};

}  // namespace quiver::routing
