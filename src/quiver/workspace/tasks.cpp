// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/tasks.h"

#include "quiver/base/error.h"
#include "quiver/data/chat_turns.h"
#include "quiver/text/encode_prompt.h"

namespace quiver::workspace {
namespace {

void render_chats(data::Task& task, const text::LoadedTokenizer& text) {
  for (auto& example : task.examples) {
    if (example.messages.empty()) continue;
    QUIVER_CHECK(text.chat_template, unsupported, "task " + task.name,
                 "its rows are chats, and the model has no chat template");
    std::vector<text::Message> messages;
    for (const auto& m : example.messages) messages.push_back({m.role, m.content});
    auto chat = text::render_chat(text, messages);
    example.source = std::move(chat.text);
    example.chat_ids = std::move(chat.ids);
    example.messages.clear();
  }
}

}  // namespace

std::vector<data::Task> TaskOptions::read(const text::LoadedTokenizer& text, Progress& said) const {
  QUIVER_CHECK(turns == "all" || turns == "last", usage, "--turns", "'{}', expected all or last", turns);
  data::ReadOptions options;
  options.format = data::format_from_name(format);
  auto set = data::read_tasks({paths.begin(), paths.end()}, options);
  for (const auto& note : set.notes) said.say(note);
  for (auto& task : set.tasks) {
    if (turns == "all") data::learn_every_turn(task);
    render_chats(task, text);
  }
  return std::move(set.tasks);
}

}  // namespace quiver::workspace
