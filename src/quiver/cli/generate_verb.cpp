// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/error.h"
#include "quiver/cli/common.h"
#include "quiver/cli/generation.h"
#include "quiver/cli/verb.h"
#include "quiver/data/text_file.h"

namespace quiver::cli {
namespace {

struct Options {
  ModelOptions model;
  RouteOptions route;
  GenerationOptions generation;
  JoinChoice join;
  OptionSet texts;
  std::string prompt, prompt_file;
  bool chat = false, json = false;
};

/// A chat is what its template says; any other prompt begins and ends as the experts' rows do.
serving::TextPrompt prompt_of(const Options& o, const LoadedModel& loaded, const workspace::RoutedExperts& routed,
                              Progress& said) {
  const auto text = o.prompt_file.empty() ? o.prompt : data::read_text_file(o.prompt_file);
  if (o.chat) {
    refuse_unread(o.texts, {}, "--chat");
    return serving::chat_prompt(loaded.text, std::vector<text::Message>{{"user", text}});
  }
  const auto& tokenizer = *loaded.text.tokenizer;
  const auto rules = workspace::rules_for_prompts(o.join, loaded, routed, said);
  return {workspace::prompt_ids(text, rules, tokenizer), tokenizer.eos_ids()};
}

void run(const Options& o) {
  TerminalProgress progress;
  const auto loaded = load(o.model);
  const auto routed = load_routed(o.route, loaded, progress);
  const auto prompt = prompt_of(o, loaded, routed, progress);
  const auto answer = answered(loaded, routed, prompt, o.route.task, o.generation, !o.json);
  if (!o.json) return;
  nlohmann::json out{{"text", answer.text}, {"ids", answer.ids}, {"finish", answer.finish}};
  if (answer.score) out["score"] = *answer.score;
  print_json(out);
}

}  // namespace

std::function<void()> declare_generate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  declare(app, o->model);
  declare(app, o->route);
  o->generation.declare(app);
  workspace::describe_prompts(o->join, o->texts);
  declare(app, o->texts);
  auto* prompt = app.add_option("--prompt", o->prompt, "the text to go on from");
  auto* file = app.add_option("--prompt-file", o->prompt_file, "a file that holds it");
  prompt->excludes(file);
  app.add_flag("--chat", o->chat, "the prompt is a user's message in the model's chat template");
  app.add_flag("--json", o->json, "one object {text, ids, finish} of what was generated; with --beams its score too");
  return [o, &app] {
    QUIVER_CHECK(app.count("--prompt") + app.count("--prompt-file") == 1, usage, "generate",
                 "give --prompt or --prompt-file");
    run(*o);
  };
}

}  // namespace quiver::cli
