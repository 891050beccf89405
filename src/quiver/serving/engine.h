// SPDX-License-Identifier: Apache-2.0
// Generation, batched continuously: requests come and go, each with its own route, options and random stream.
//
// Each pass holds one token of every row that answers and portions of the prompts still to be read; a request that ends
// makes room for one that waits. An answer does not depend on the requests beside it, nor does an error: one that
// arises in a pass of several ends those alone that have it by themselves. Not thread-safe.
#pragma once

#include <deque>
#include <map>
#include <optional>

#include "quiver/serving/job.h"

namespace quiver::serving {

struct EngineOptions {
  std::int64_t open_rows = 64;      ///< rows that are under way at once; other requests wait. Memory of their caches
  std::int64_t pass_tokens = 2048;  ///< tokens of a pass: longer prompts are read in portions, beside rows that answer
};

class Engine {
 public:
  using Id = std::int64_t;

  explicit Engine(model::Model model, EngineOptions options = {});

  /// Throws Error{usage} where the prompt is empty or an option is out of range, Error{mismatch} where a token is not
  /// in the vocabulary; nothing is submitted then.
  Id submit(GenerateRequest request);
  /// True where no request waits or is under way.
  bool idle() const { return jobs_.empty(); }

  struct Event {
    Id id = 0;
    std::optional<std::int32_t> token;  ///< what it wrote; a search tells its tokens at the end alone
    Finish finish = Finish::running;
  };
  /// One pass. What became of the requests in it, in their order.
  std::vector<Event> step();

  /// Ends a request where it stands; no event follows. Nothing where it has ended.
  void cancel(Id id);
  /// The answer of a request that has ended, which is forgotten.
  Answer take(Id id);

 private:
  struct PassRow {
    Id id;
    Job* job;
    std::size_t row;
    std::int64_t tokens;
  };
  using Pass = std::vector<PassRow>;

  std::shared_ptr<Route> route_of(const GenerateRequest& request);
  void admit();
  void open(const std::vector<Id>& ids);
  void encode();
  Pass next_pass();
  void run(Pass pass, void (Engine::*work)(const Pass&));
  void run_alone(const Pass& pass, void (Engine::*work)(const Pass&));
  void read_prompts(const Pass& pass);
  void forward(const Pass& pass);
  void settle(Id id, std::optional<std::int32_t> token);
  void fail(Id id);
  void keep_answer(Id id);

  model::Model model_;
  EngineOptions options_;
  Id next_ = 0;
  std::map<Id, Job> jobs_;   ///< that have not ended
  std::deque<Id> waiting_;   ///< in the order in which they came; some were cancelled since
  std::map<Id, Job*> open_;  ///< under way, in that order
  std::map<Id, Answer> answers_;
  std::map<const routing::Router*, std::weak_ptr<Route>> routes_;
  std::vector<Event> events_;
};

}  // namespace quiver::serving
