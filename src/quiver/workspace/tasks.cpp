// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/tasks.h"

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::workspace {

std::vector<data::Task> TaskOptions::read(const text::LoadedTokenizer& text) const {
  data::ReadOptions options;
  options.format = data::format_from_name(format);
  auto tasks = data::read_tasks({paths.begin(), paths.end()}, options);
  for (auto& task : tasks) {
    for (auto& example : task.examples) {
      if (example.messages.empty()) continue;
      QUIVER_CHECK(text.chat_template, unsupported, "task " + task.name,
                   "its rows are chats, and the model has no chat template");
      std::vector<text::Message> messages;
      for (const auto& m : example.messages) messages.push_back({m.role, m.content});
      example.source = text.chat_template->render(messages, {});
      example.messages.clear();
    }
  }
  return tasks;
}

data::JoinOptions JoinChoice::options(const LoadedModel& loaded) const {
  using Join = data::JoinOptions;
  const auto choice = [](const char* option, const std::string& given, const std::vector<std::string>& names) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (given == names[i]) return i;
    }
    fail(ErrorCode::usage, option, "'{}', expected {}", given, join(names, ", "));
  };
  Join out;
  const auto& tokenizer = *loaded.text.tokenizer;
  const bool two_stacks = loaded.model.config().encoder_decoder();
  const auto between = separator != "auto" ? separator : two_stacks ? "none" : "newline";
  out.separator = static_cast<Join::Separator>(choice("--separator", between, {"newline", "mttl-space", "none"}));
  out.tokenise = static_cast<Join::Tokenise>(choice("--tokenise", tokenise, {"apart", "joint"}));
  out.truncate = static_cast<Join::Truncate>(choice("--truncate", truncate, {"left", "right"}));
  if (!rules.empty()) {
    choice("--rules", rules, {"mttl"});
    out.separator = Join::Separator::mttl_space;
    out.tokenise = Join::Tokenise::joint;
    out.mask = Join::Mask::target_alone;
    out.truncate_jointly = true;
  }
  out.max_tokens = max_tokens;
  out.append_eos = !no_eos;
  out.whole_sequence_loss = whole_sequence;
  if (two_stacks) {
    QUIVER_CHECK(!tokenizer.eos_ids().empty(), unsupported, "model",
                 "the tokenizer names no end-of-sequence token, with which an encoder-decoder's sources end");
    out.source_end_token = tokenizer.eos_ids()[0];
  }
  if (bos) {
    QUIVER_CHECK(tokenizer.bos_id(), unsupported, "--bos", "the tokenizer names no begin-of-sequence token");
    out.begin_token = *tokenizer.bos_id();
  }
  return out;
}

}  // namespace quiver::workspace
