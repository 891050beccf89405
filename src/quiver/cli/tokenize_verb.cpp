// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <fstream>
#include <iostream>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/model/load.h"
#include "quiver/text/encode_prompt.h"

namespace quiver::cli {
namespace {

using nlohmann::json;

struct Options {
  std::string model = "smollm2", text, file, chat;
  bool decode = false, special = false, plain = false, json = false;
};

void show_ids(const Options& o, const text::Tokenizer& tokenizer, const std::string& text) {
  const auto ids = tokenizer.encode(text, {o.special, !o.plain});
  if (o.json) return print_json({{"ids", ids}});
  for (const auto id : ids)
    std::printf("%d\t%s\n", id,
                json(tokenizer.token_text(id)).dump(-1, ' ', false, json::error_handler_t::replace).c_str());
}

void show_text(const Options& o, const text::Tokenizer& tokenizer, const std::string& line, const std::string& where) {
  const auto ids = json::parse(line, nullptr, false);
  QUIVER_CHECK(
      ids.is_array() && std::all_of(ids.begin(), ids.end(), [](const auto& id) { return id.is_number_integer(); }),
      format, where, "expected a JSON list of ids, got '{}'", line.substr(0, 60));
  const auto text = tokenizer.decode(ids.get<std::vector<std::int32_t>>());
  if (o.json) return print_json({{"text", text}});
  std::printf("%s\n", text.c_str());
}

void show_chat(const Options& o, const text::LoadedTokenizer& loaded) {
  const auto request = json::parse(read_file(o.chat, 1 << 26), nullptr, false);
  QUIVER_CHECK(request.is_object() && request.contains("messages") && request["messages"].is_array(), format, o.chat,
               "expected a JSON object with a list 'messages'");
  QUIVER_CHECK(loaded.chat_template, unsupported, o.chat, "the model has no chat template");
  std::vector<text::Message> messages;
  for (const auto& m : request["messages"]) {
    QUIVER_CHECK(m.is_object() && m.contains("role") && m.contains("content") && m["role"].is_string() &&
                     m["content"].is_string(),
                 format, o.chat, "each message needs text 'role' and 'content', got {}", m.dump().substr(0, 80));
    messages.push_back({m["role"], m["content"]});
  }
  text::ChatOptions options;
  const auto prompt = request.value("add_generation_prompt", json(true));
  options.add_generation_prompt = prompt.is_boolean() ? prompt.get<bool>() : true;
  const auto tools = request.value("tools", json());
  if (tools.is_array() && !tools.empty()) options.tools_json = tools.dump();
  const auto text = loaded.chat_template->render(messages, options);
  if (o.json) return print_json({{"text", text}, {"ids", text::encode_chat(loaded, messages, options)}});
  std::printf("%s\n", text.c_str());
}

void run(const Options& o) {
  const auto loaded = text::load_tokenizer(model::resolve_model(o.model));
  if (!o.chat.empty()) return show_chat(o, loaded);
  if (o.file.empty()) {
    return o.decode ? show_text(o, *loaded.tokenizer, o.text, "--text") : show_ids(o, *loaded.tokenizer, o.text);
  }
  std::ifstream stream(o.file, std::ios::binary);
  QUIVER_CHECK(stream.good(), not_found, o.file, "no such file");
  std::size_t number = 0;
  for (std::string line; std::getline(stream, line);) {
    ++number;
    if (o.decode) {
      show_text(o, *loaded.tokenizer, line, fmt::format("{}:{}", o.file, number));
    } else {
      show_ids(o, *loaded.tokenizer, line);
    }
  }
}

}  // namespace

std::function<void()> declare_tokenize(CLI::App& app) {
  auto o = std::make_shared<Options>();
  app.add_option("--model", o->model, "the model whose tokenizer is used")->capture_default_str();
  auto* text = app.add_option("--text", o->text, "one text");
  auto* file = app.add_option("--file", o->file, "a text per line");
  auto* chat = app.add_option("--chat", o->chat, "a JSON file of {messages, tools, add_generation_prompt}");
  text->excludes(file)->excludes(chat);
  file->excludes(chat);
  app.add_flag("--decode", o->decode, "the other way: JSON lists of ids to text");
  app.add_flag("--special", o->special, "add what the model's template puts around a text");
  app.add_flag("--plain", o->plain, "special tokens in the text are plain text");
  app.add_flag("--json", o->json, "an object per text");
  return [o, &app] {
    QUIVER_CHECK(app.count("--text") + app.count("--file") + app.count("--chat") == 1, usage, "tokenize",
                 "give one of --text, --file and --chat");
    run(*o);
  };
}

}  // namespace quiver::cli
