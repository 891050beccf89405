// SPDX-License-Identifier: Apache-2.0
// A request on its way to its answer: the rows of passes that write it, one where tokens are sampled, one per beam in a
// search. Not thread-safe.
#pragma once

#include <optional>

#include "quiver/base/random.h"
#include "quiver/model/model.h"
#include "quiver/serving/answer.h"
#include "quiver/serving/session.h"

namespace quiver::serving {

struct Row {
  Session session;
  std::vector<std::int32_t> ids;  ///< what the answer's stack reads: prompt and answer so far, or start and answer
  std::size_t fed = 0;            ///< of these, in the cache
  model::RowCache cache;

  bool reads_prompt(std::size_t prompt) const { return fed < prompt; }
};

class Job {
 public:
  explicit Job(GenerateRequest request);

  const GenerateRequest& request() const { return request_; }
  /// Rows that it may come to have.
  std::int64_t width() const { return std::max<std::int64_t>(1, request_.options.beams); }

  /// From here on it has a row, whose prompt is to be read. Throws Error{mismatch} where it does not fit the context.
  void open(Session session, const model::ModelConfig& config);
  bool is_open() const { return !rows_.empty(); }
  std::vector<Row>& rows() { return rows_; }

  /// Encoder-decoders: the prompt is still to be read by the encoder.
  bool is_unread() const { return unread_; }
  void set_read(std::int32_t answer_start);
  /// False while its row reads the prompt.
  bool answers() const { return is_open() && !unread_ && !rows_[0].reads_prompt(before_); }

  /// logits float32 [rows, V] after all that the rows have. The token that it took, if it took one that stays.
  std::optional<std::int32_t> take(at::Tensor logits, const model::ModelConfig& config);

  bool ended() const { return answer_.finish != Finish::running; }
  /// Gives its rows back at once.
  void end(Finish finish, std::exception_ptr error = nullptr);
  const Answer& answer() const { return answer_; }

 private:
  void start(const model::ModelConfig& config);
  std::optional<std::int32_t> sampled(at::Tensor logits);
  void searched(const at::Tensor& logits);
  Finish full() const;

  GenerateRequest request_;
  std::vector<Row> rows_;
  bool unread_ = false;
  std::size_t before_ = 0;  ///< of a row's ids, those that are not the answer's
  bool started_ = false;
  std::int64_t longest_ = 0;  ///< tokens of the answer that the options and the context leave
  Random random_;
  std::optional<BeamSearch> search_;
  Answer answer_;
};

}  // namespace quiver::serving
