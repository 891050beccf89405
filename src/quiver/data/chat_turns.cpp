// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/chat_turns.h"

#include <utility>

namespace quiver::data {

void learn_every_turn(Task& task) {
  std::vector<Example> out;
  for (auto& example : task.examples) {
    const auto& turns = example.messages;
    for (std::size_t i = 1; example.split != Split::test && i < turns.size(); ++i) {
      if (turns[i].role != "assistant") continue;
      Example earlier;
      earlier.target = turns[i].content;
      earlier.messages.assign(turns.begin(), turns.begin() + static_cast<std::ptrdiff_t>(i));
      earlier.weight = example.weight;
      earlier.split = example.split;
      earlier.group = example.group;
      earlier.where = example.where;
      out.push_back(std::move(earlier));
    }
    out.push_back(std::move(example));
  }
  task.examples = std::move(out);
}

}  // namespace quiver::data
