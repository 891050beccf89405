// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/tokenizer_json.h"

#include <algorithm>
#include <set>

#include "quiver/text/json_view.h"
#include "quiver/text/tokenizer_json_parts.h"

namespace quiver::text {
namespace {

constexpr std::uint64_t kMaxFileBytes = std::uint64_t{256} << 20;
using Json = JsonView::Json;

void check_plain_bpe(const JsonView& model) {
  const auto type = model.string_or("type", "BPE");
  if (type != "BPE") model.refuse("tokenizer model '" + type + "'");
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.string_or(affix, "").empty()) model.at(affix).refuse(affix);
  }
  if (model.has("dropout") && model.at("dropout").value() != 0.0) model.at("dropout").refuse("dropout");
}

std::vector<std::string> read_pieces(const JsonView& vocabulary) {
  if (!vocabulary.value().is_object()) vocabulary.wrong("an object");
  std::vector<std::string> pieces;
  for (const auto& [piece, id] : vocabulary.value().items()) {
    const auto fits = id.is_number_unsigned() && id.get<std::uint64_t>() < kMaxVocabulary;
    QUIVER_CHECK(fits, format, vocabulary.place(), "piece '{}': expected an id below {}, found {}", piece,
                 kMaxVocabulary, id.is_primitive() ? id.dump() : id.type_name());
    const auto index = id.get<std::size_t>();
    if (index >= pieces.size()) pieces.resize(std::max(index + 1, vocabulary.value().size()));
    QUIVER_CHECK(pieces[index].empty(), format, vocabulary.place(), "id {} belongs to two pieces, '{}' and '{}'", index,
                 pieces[index], piece);
    pieces[index] = piece;
  }
  while (!pieces.empty() && pieces.back().empty()) pieces.pop_back();
  return pieces;
}

// "a b", or since 2024 ["a", "b"].
std::pair<std::string, std::string> read_merge(const JsonView& merge) {
  if (merge.value().is_array()) {
    if (merge.size() != 2) merge.wrong("two pieces");
    return {merge.at(std::size_t{0}).string(), merge.at(std::size_t{1}).string()};
  }
  return split_merge(merge.string(), merge.place());
}

BpeVocabulary read_vocabulary(const JsonView& model) {
  BpeVocabulary vocabulary;
  vocabulary.pieces = read_pieces(model.at("vocab"));
  const auto merges = model.at("merges");
  const auto count = merges.size();
  vocabulary.merges.reserve(count);
  for (std::size_t i = 0; i < count; ++i) vocabulary.merges.push_back(read_merge(merges.at(i)));
  return vocabulary;
}

JsonView member_or_null(const JsonView& root, const char* name) {
  static const Json null;
  return root.has(name) ? root.at(name) : JsonView(null, root.place(), name);
}

std::vector<AddedToken> read_added_tokens(const JsonView& root) {
  std::vector<AddedToken> tokens;
  if (!root.has("added_tokens")) return tokens;
  const auto list = root.at("added_tokens");
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto token = list.at(i);
    tokens.push_back(read_added_token(token, static_cast<TokenId>(token.at("id").integer(0, kMaxVocabulary - 1))));
  }
  return tokens;
}

// The files beside tokenizer.json; a file that is not there is an empty object.
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
    for (std::size_t id = 0; id < parts.vocabulary.pieces.size(); ++id) {
      ids_.emplace(parts.vocabulary.pieces[id], static_cast<TokenId>(id));
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
  parts.bos_id = table.find(files.named("bos_token"));
  if (!parts.bos_id && config.has("bos_token_id")) parts.bos_id = read_id_or_ids(config.at("bos_token_id")).at(0);
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

TokenizerParts parse_tokenizer_json(const std::string& bytes, const std::string& file) {
  const auto json = parse_json(bytes, file);
  const JsonView root(json, file);
  const auto model = root.at("model");
  check_plain_bpe(model);
  TokenizerParts parts;
  parts.vocabulary = read_vocabulary(model);
  parts.added = read_added_tokens(root);
  parts.normalizer = read_normalizer(member_or_null(root, "normalizer"));
  auto pre_tokenizer = read_pre_tokenizer(member_or_null(root, "pre_tokenizer"));
  parts.pre_tokenizer = std::move(pre_tokenizer.steps);
  parts.bpe.byte_level = pre_tokenizer.byte_level;
  parts.bpe.byte_fallback = model.boolean_or("byte_fallback", false);
  parts.bpe.ignore_merges = model.boolean_or("ignore_merges", false);
  parts.bpe.fuse_unknown = model.boolean_or("fuse_unk", false);
  parts.bpe.unknown = model.string_or("unk_token", "");
  read_post_processor(member_or_null(root, "post_processor"), parts.prefix, parts.suffix);
  parts.decoder = read_decoder(member_or_null(root, "decoder"));
  return parts;
}

TokenizerParts read_tokenizer_folder(const fs::path& folder) {
  auto parts = parse_tokenizer_json(read_file(folder / "tokenizer.json", kMaxFileBytes), "tokenizer.json");
  const SideFiles files(folder);
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
