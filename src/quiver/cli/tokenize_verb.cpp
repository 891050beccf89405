// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <limits>
#include <sstream>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/data/row_formats.h"
#include "quiver/data/text_file.h"
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

std::vector<text::TokenId> ids_of(const json& list, const std::string& where) {
  constexpr auto kMost = std::numeric_limits<text::TokenId>::max();
  QUIVER_CHECK(list.is_array(), format, where, "expected a JSON list of ids, came {}", list.type_name());
  std::vector<text::TokenId> out;
  for (const auto& id : list) {
    QUIVER_CHECK(id.is_number_unsigned() && id.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMost), format, where,
                 "expected a JSON list of ids from 0 to {}, came {} in it", kMost,
                 id.is_number() ? id.dump() : id.type_name());
    out.push_back(id.get<text::TokenId>());
  }
  return out;
}

void show_text(const Options& o, const text::Tokenizer& tokenizer, const std::string& line, const std::string& where) {
  const auto ids = ids_of(data::parse_json(line, where), where);
  for (const auto id : ids)
    QUIVER_CHECK(static_cast<std::size_t>(id) < tokenizer.vocabulary_size(), format, where,
                 "id {} is outside the tokenizer's vocabulary; expected ids from 0 to {}", id,
                 tokenizer.vocabulary_size() - 1);
  const auto text = tokenizer.decode(ids);
  if (o.json) return print_json({{"text", text}});
  std::printf("%s\n", text.c_str());
}

/// A list that may be missing or null.
json list_of(const data::Record& request, const char* key) {
  const auto list = request.value.value(key, json());
  QUIVER_CHECK(list.is_null() || list.is_array(), format, request.where, "key '{}': expected a list, came {}", key,
               list.type_name());
  return list;
}

text::ChatOptions chat_options(const data::Record& request) {
  text::ChatOptions options;
  const auto begin_answer = request.value.value("add_generation_prompt", json());
  QUIVER_CHECK(begin_answer.is_null() || begin_answer.is_boolean(), format, request.where,
               "key 'add_generation_prompt': expected true or false, came {}", begin_answer.type_name());
  if (begin_answer.is_boolean()) options.add_generation_prompt = begin_answer.get<bool>();
  if (const auto tools = list_of(request, "tools"); !tools.empty()) options.tools_json = tools.dump();
  QUIVER_CHECK(list_of(request, "documents").empty(), unsupported, request.where,
               "documents were given, but this model's chat template has no place for them");
  return options;
}

void show_chat(const Options& o, const text::LoadedTokenizer& loaded) {
  const data::Record request{data::parse_json(data::read_text_file(o.chat), o.chat), o.chat};
  QUIVER_CHECK(request.value.is_object(), format, o.chat, "expected a JSON object with a list 'messages', came {}",
               request.value.type_name());
  data::check_keys(request, {"messages", "tools", "documents", "add_generation_prompt"});
  std::vector<text::Message> messages;
  for (auto& turn : data::read_messages(request)) messages.push_back({std::move(turn.role), std::move(turn.content)});
  const auto chat = text::render_chat(loaded, messages, chat_options(request));
  if (o.json) return print_json({{"text", chat.text}, {"ids", chat.ids}});
  std::printf("%s\n", chat.text.c_str());
}

void run(const Options& o) {
  const auto loaded = text::load_tokenizer(model::resolve_model(o.model));
  if (!o.chat.empty()) return show_chat(o, loaded);
  if (o.file.empty()) {
    return o.decode ? show_text(o, *loaded.tokenizer, o.text, "--text") : show_ids(o, *loaded.tokenizer, o.text);
  }
  std::istringstream stream(data::read_text_file(o.file));
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
  auto* chat = app.add_option("--chat", o->chat, "a JSON file of {messages, tools, documents, add_generation_prompt}");
  text->excludes(file)->excludes(chat);
  file->excludes(chat);
  auto* decode = app.add_flag("--decode", o->decode, "the other way: JSON lists of ids to text");
  auto* special = app.add_flag("--special", o->special, "add what the model's template puts around a text");
  auto* plain = app.add_flag("--plain", o->plain, "special tokens in the text are plain text");
  for (auto* option : {chat, decode}) option->excludes(special)->excludes(plain);
  chat->excludes(decode);
  app.add_flag("--json", o->json, "an object per text");
  return [o, &app] {
    QUIVER_CHECK(app.count("--text") + app.count("--file") + app.count("--chat") == 1, usage, "tokenize",
                 "give one of --text, --file and --chat");
    run(*o);
  };
}

}  // namespace quiver::cli
