// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/job.h"

#include <algorithm>

#include "quiver/base/error.h"

namespace quiver::serving {

Job::Job(GenerateRequest request)
    : request_(std::move(request)), random_(derive_seed(request_.options.seed, request_.number)) {}

void Job::open(Session session, const model::ModelConfig& config) {
  const auto soft = session.soft_prompt();
  const auto vectors = soft.defined() ? soft.size(0) : 0;
  const auto tokens = static_cast<std::int64_t>(request_.prompt.size());
  QUIVER_CHECK(tokens + vectors <= config.max_positions, mismatch, "prompt",
               "{} tokens{}, the model's context is {}; shorten the prompt", tokens,
               vectors > 0 ? fmt::format(" and {} vectors before them", vectors) : "", config.max_positions);
  unread_ = config.encoder_decoder();
  before_ = request_.prompt.size();
  rows_.resize(1);
  rows_[0].session = std::move(session);
  rows_[0].ids = request_.prompt;
}

void Job::set_read(std::int32_t answer_start) {
  unread_ = false;
  before_ = 1;
  rows_[0].ids = {answer_start};
}

/// The prompt's end: what the context leaves is known. A last token is written that no pass reads.
void Job::start(const model::ModelConfig& config) {
  started_ = true;
  const auto& row = rows_[0];
  longest_ = std::min(request_.options.max_new_tokens, config.max_positions - row.cache.length() + 1);
  if (request_.options.beams > 0) search_.emplace(request_.options, row.ids, longest_);
}

std::optional<std::int32_t> Job::take(at::Tensor logits, const model::ModelConfig& config) {
  if (!started_) start(config);
  if (!search_) return sampled(std::move(logits));
  searched(logits);
  return std::nullopt;
}

std::optional<std::int32_t> Job::sampled(at::Tensor logits) {
  auto& ids = rows_[0].ids;
  const std::span<float> values(logits.data_ptr<float>(), static_cast<std::size_t>(logits.size(1)));
  const auto token = model::sample(values, ids, request_.options.sampling, random_);
  const auto& stops = request_.options.stop_tokens;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
    end(Finish::stop_token);
    return std::nullopt;
  }
  ids.push_back(token);
  if (static_cast<std::int64_t>(ids.size() - before_) >= longest_) end(full());
  return token;
}

void Job::searched(const at::Tensor& logits) {
  const auto next = search_->step(logits);
  if (next.empty()) {
    const auto& best = search_->finished().at(0).ids;
    return end(static_cast<std::int64_t>(best.size()) < longest_ ? Finish::stop_token : full());
  }
  std::vector<std::size_t> children(rows_.size(), 0);
  for (const auto& c : next) ++children[c.parent];
  std::vector<Row> chosen;
  for (const auto& c : next) {
    auto& parent = rows_[c.parent];
    // The last child takes what its parent has, the others branch off it.
    if (--children[c.parent] > 0) {
      chosen.push_back({parent.session.branch(), parent.ids, parent.fed, parent.cache.copy()});
    } else {
      chosen.push_back(std::move(parent));
    }
    chosen.back().ids.push_back(c.token);
  }
  rows_ = std::move(chosen);
}

Finish Job::full() const { return longest_ < request_.options.max_new_tokens ? Finish::context : Finish::length; }

void Job::end(Finish finish, std::exception_ptr error) {
  answer_.finish = finish;
  answer_.error = std::move(error);
  if (search_) {
    answer_.beams = search_->finished();
    if (!answer_.beams.empty()) answer_.ids = answer_.beams[0].ids;
  } else if (is_open() && !unread_) {
    const auto& ids = rows_[0].ids;
    answer_.ids.assign(ids.begin() + static_cast<std::ptrdiff_t>(before_), ids.end());
  }
  rows_.clear();
}

}  // namespace quiver::serving
