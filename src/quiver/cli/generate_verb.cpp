// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/cli/common.h"
#include "quiver/cli/generation.h"
#include "quiver/cli/verb.h"
#include "quiver/model/beam_search.h"

namespace quiver::cli {
namespace {

struct Options {
  ModelOptions model;
  RouteOptions route;
  GenerationOptions generation;
  std::string prompt, prompt_file;
  std::int64_t beams = 0;
  double length_penalty = 1.0;
  bool chat = false, json = false;
};

/// The best of a search by beams, which knows its answer only at the end.
void search(const Options& o, const LoadedModel& loaded, const routing::Router& router, const std::string& prompt) {
  QUIVER_CHECK(o.generation.model.sampling.temperature == 0.0 && o.generation.stop.empty(), usage, "--beams",
               "takes neither --temperature nor --stop: it looks for the most probable answer to its end");
  const auto& tokenizer = *loaded.text.tokenizer;
  const auto ids = tokenizer.encode(prompt, {true, true});
  QUIVER_CHECK(!ids.empty(), usage, "--prompt", "the prompt is empty");
  const model::BeamOptions options{o.beams, o.generation.model.max_new_tokens, o.length_penalty, tokenizer.eos_ids()};
  const auto best = model::beam_search(loaded.model, ids, options, routing::bind_requests(router, {{o.route.task, ids}})).at(0);
  const auto text = tokenizer.decode(best.ids, {true});
  if (o.json) {
    print_json({{"text", text}, {"ids", best.ids}, {"score", best.score}});
  } else {
    std::printf("%s\n", text.c_str());
  }
}

void run(const Options& o) {
  TerminalProgress progress;
  const auto loaded = load(o.model);
  const auto routed = load_routed(o.route, loaded, progress);
  auto prompt = o.prompt_file.empty() ? o.prompt : read_file(o.prompt_file, 1 << 28);
  if (o.chat) {
    QUIVER_CHECK(loaded.text.chat_template, unsupported, "--chat", "the model has no chat template");
    const std::vector<text::Message> messages{{"user", prompt}};
    prompt = loaded.text.chat_template->render(messages, {});
  }
  if (o.beams > 0) return search(o, loaded, *routed.router, prompt);
  const auto answer = generate_streamed(loaded, *routed.router, prompt, o.route.task, o.generation, !o.json);
  if (o.json) {
    print_json({{"text", answer.text}, {"ids", answer.ids}});
  } else {
    std::printf("\n");
  }
}

}  // namespace

std::function<void()> declare_generate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  declare(app, o->model);
  declare(app, o->route);
  o->generation.declare(app);
  auto* prompt = app.add_option("--prompt", o->prompt, "the text to go on from");
  auto* file = app.add_option("--prompt-file", o->prompt_file, "a file that holds it");
  prompt->excludes(file);
  app.add_flag("--chat", o->chat, "the prompt is a user's message in the model's chat template");
  app.add_option("--beams", o->beams, "search by this many beams for the most probable answer; 0: take token by token");
  app.add_option("--length-penalty", o->length_penalty,
                 "beams are compared by summed log-probabilities over tokens to this power")
      ->capture_default_str();
  app.add_flag("--json", o->json, "one object {text, ids} of what was generated; with --beams its score too");
  return [o, &app] {
    QUIVER_CHECK(app.count("--prompt") + app.count("--prompt-file") == 1, usage, "generate",
                 "give --prompt or --prompt-file");
    run(*o);
  };
}

}  // namespace quiver::cli
