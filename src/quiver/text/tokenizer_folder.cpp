// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/tokenizer_folder.h"

#include <algorithm>
#include <array>
#include <set>

#include "quiver/text/json_view.h"
#include "quiver/text/tokenizer_json.h"
#include "quiver/text/tokenizer_json_parts.h"
#include "quiver/text/tokenizer_sentencepiece.h"

namespace quiver::text {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{256} << 20;
constexpr std::array kTokenizerFiles = {"tokenizer.json", "spiece.model", "sentencepiece.model", "tokenizer.model"};
using Json = JsonView::Json;

// The files beside the tokenizer's; a file that is not there is an empty object.
struct SideFiles {
  explicit SideFiles(const fs::path& folder)
      : tokenizer_config(load(folder, "tokenizer_config.json")),
        special_tokens_map(load(folder, "special_tokens_map.json")),
        generation_config(load(folder, "generation_config.json")),
        config(load(folder, "config.json")) {}

  static Json load(const fs::path& folder, const char* name) {
    const auto path = folder / name;
    if (!fs::exists(path)) return Json::object();
    auto json = parse_json(read_file(path, kMaxFileBytes), name);
    QUIVER_CHECK(json.is_object(), format, name, "expected an object, found {}", json.type_name());
    return json;
  }

  // A token by its role ("bos_token"): a string, or an object with its content. Empty where no file names it.
  std::string named(const char* role) const {
    for (const auto& view : {JsonView(tokenizer_config, "tokenizer_config.json"),
                             JsonView(special_tokens_map, "special_tokens_map.json")}) {
      if (!view.has(role)) continue;
      const auto token = view.at(role);
      return token.value().is_object() ? token.at("content").string() : token.string();
    }
    return "";
  }

  Json tokenizer_config, special_tokens_map, generation_config, config;
};

// Ids by content, growing with the tokens that the side files add.
class TokenTable {
 public:
  explicit TokenTable(TokenizerParts& parts) : parts_(parts) {
    TokenId id = 0;
    if (parts.unigram) {
      for (const auto& piece : parts.unigram->pieces) ids_.insert_or_assign(piece.text, id++);
    } else {
      for (const auto& piece : parts.vocabulary.pieces) ids_.emplace(piece, id++);
    }
    for (const auto& token : parts.added) {
      ids_.emplace(token.content, token.id);
      added_.insert(token.id);
    }
  }

  std::optional<TokenId> find(const std::string& content) const {
    const auto found = ids_.find(content);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }
  void add(AddedToken token) {
    if (!added_.insert(token.id).second) return;
    ids_.emplace(token.content, token.id);
    parts_.added.push_back(std::move(token));
  }

 private:
  TokenizerParts& parts_;
  std::unordered_map<std::string, TokenId> ids_;
  std::set<TokenId> added_;
};

// tokenizer_config.json may list added tokens that an older tokenizer.json lacks.
void add_configured_tokens(const SideFiles& files, TokenTable& table) {
  const JsonView config(files.tokenizer_config, "tokenizer_config.json");
  if (!config.has("added_tokens_decoder")) return;
  const auto list = config.at("added_tokens_decoder");
  if (!list.value().is_object()) list.wrong("an object");
  for (const auto& [id, unused] : list.value().items()) {
    const bool number = !id.empty() && id.size() <= 7 && id.find_first_not_of("0123456789") == std::string::npos;
    QUIVER_CHECK(number && std::stol(id) < kMaxVocabulary, format, list.place(), "expected an id below {}, found '{}'",
                 kMaxVocabulary, id);
    table.add(read_added_token(list.at(id.c_str()), static_cast<TokenId>(std::stol(id))));
  }
}

// Tokens that have a role are special even where no list says so.
void add_named_tokens(const SideFiles& files, TokenTable& table) {
  for (const char* role :
       {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
    const auto content = files.named(role);
    const auto id = table.find(content);
    if (content.empty() || !id) continue;
    AddedToken token;
    token.id = *id;
    token.content = content;
    token.special = true;
    table.add(std::move(token));
  }
}

std::vector<TokenId> read_id_or_ids(const JsonView& value) {
  const auto read = [](const JsonView& id) { return static_cast<TokenId>(id.integer(0, kMaxVocabulary - 1)); };
  if (!value.value().is_array()) return {read(value)};
  std::vector<TokenId> ids;
  for (std::size_t i = 0; i < value.size(); ++i) ids.push_back(read(value.at(i)));
  return ids;
}

void read_ends(const SideFiles& files, const TokenTable& table, TokenizerParts& parts) {
  const JsonView generation(files.generation_config, "generation_config.json"), config(files.config, "config.json");
  if (generation.has("eos_token_id")) {
    parts.eos_ids = read_id_or_ids(generation.at("eos_token_id"));
  } else if (config.has("eos_token_id")) {
    parts.eos_ids = read_id_or_ids(config.at("eos_token_id"));
  } else if (const auto id = table.find(files.named("eos_token"))) {
    parts.eos_ids = {*id};
  }
  // The tokenizer's own end comes first, wherever the list has it: it is the one that closes an answer in training.
  if (const auto id = table.find(files.named("eos_token"))) {
    const auto found = std::find(parts.eos_ids.begin(), parts.eos_ids.end(), *id);
    if (found != parts.eos_ids.end()) std::rotate(parts.eos_ids.begin(), found, found + 1);
  }
  if (const auto id = table.find(files.named("bos_token"))) parts.bos_id = id;
  if (!parts.bos_id && config.has("bos_token_id")) parts.bos_id = read_id_or_ids(config.at("bos_token_id")).at(0);
}

// Model files of other tokenizers have other tokens around texts, and ids that are not the pieces' places.
void check_t5(const SideFiles& files, const std::string& file) {
  constexpr std::array kClasses = {"", "T5Tokenizer", "T5TokenizerFast", "MT5Tokenizer", "MT5TokenizerFast"};
  constexpr std::array kModels = {"", "t5", "mt5", "umt5", "longt5", "switch_transformers"};
  const auto tokenizer_class =
      JsonView(files.tokenizer_config, "tokenizer_config.json").string_or("tokenizer_class", "");
  QUIVER_CHECK(std::find(kClasses.begin(), kClasses.end(), tokenizer_class) != kClasses.end(), unsupported,
               "tokenizer_config.json: tokenizer_class",
               "{} from {} is not supported, only T5's; save a tokenizer.json", tokenizer_class, file);
  const auto model = JsonView(files.config, "config.json").string_or("model_type", "");
  QUIVER_CHECK(!tokenizer_class.empty() || std::find(kModels.begin(), kModels.end(), model) != kModels.end(),
               unsupported, "config.json: model_type",
               "'{}' with {} is not supported, only T5's; save a tokenizer.json", model, file);
}

std::size_t sentinel_count(const SideFiles& files, std::size_t pieces) {
  constexpr std::size_t kSentinels = 100;
  const JsonView settings(files.tokenizer_config, "tokenizer_config.json"), config(files.config, "config.json");
  if (settings.has("extra_ids")) {
    return static_cast<std::size_t>(settings.at("extra_ids").integer(0, kMaxVocabulary));
  }
  const bool room = !config.has("vocab_size") ||
                    static_cast<std::size_t>(config.at("vocab_size").integer(0, kMaxVocabulary)) >= pieces + kSentinels;
  return room ? kSentinels : 0;
}

TokenizerParts read_parts(const fs::path& folder, const SideFiles& files) {
  const auto name = find_tokenizer_file(folder);
  QUIVER_CHECK(name, not_found, folder.string(), "expected tokenizer.json or spiece.model");
  const auto bytes = read_file(folder / *name, kMaxFileBytes);
  if (*name == kTokenizerFiles[0]) return parse_tokenizer_json(bytes, *name);
  auto parts = parse_sentencepiece(bytes, *name);
  check_t5(files, *name);
  add_t5_convention(parts, sentinel_count(files, parts.unigram->pieces.size()), *name);
  return parts;
}

std::string template_in(const JsonView& file) {
  if (!file.has("chat_template")) return "";
  const auto value = file.at("chat_template");
  if (!value.value().is_array()) return value.string();
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value.at(i).at("name").string() == "default") return value.at(i).at("template").string();
  }
  value.refuse("a list of chat templates without 'default'");
}

}  // namespace

std::optional<std::string> find_tokenizer_file(const fs::path& folder) {
  for (const char* name : kTokenizerFiles) {
    if (fs::exists(folder / name)) return name;
  }
  return std::nullopt;
}

std::vector<std::string> tokenizer_files() {
  std::vector<std::string> out(kTokenizerFiles.begin(), kTokenizerFiles.end());
  out.insert(out.end(), {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json",
                         "chat_template.jinja", "chat_template.json"});
  return out;
}

TokenizerParts read_tokenizer_folder(const fs::path& folder) {
  const SideFiles files(folder);
  auto parts = read_parts(folder, files);
  TokenTable table(parts);
  add_configured_tokens(files, table);
  add_named_tokens(files, table);
  read_ends(files, table, parts);
  return parts;
}

std::string read_chat_template(const fs::path& folder) {
  const auto jinja = folder / "chat_template.jinja";
  if (fs::exists(jinja)) return read_file(jinja, kMaxFileBytes);
  for (const char* name : {"tokenizer_config.json", "chat_template.json"}) {
    const auto json = SideFiles::load(folder, name);
    const auto text = template_in(JsonView(json, name));
    if (!text.empty()) return text;
  }
  return "";
}

}  // namespace quiver::text
