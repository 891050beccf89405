// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/tokenizer_gguf.h"

#include <algorithm>
#include <array>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/text/pretokenizer_patterns.h"
#include "quiver/text/unicode.h"

namespace quiver::text {
namespace {

constexpr std::size_t kMaxVocabulary = 1 << 22;

// Typed look-ups that name the key.
class Metadata {
 public:
  Metadata(const GgufMetadata& values, std::string file) : values_(values), file_(std::move(file)) {}

  std::string place(const std::string& key) const { return file_ + ": " + key; }

  template <typename T>
  const T* find(const std::string& key) const {
    const auto found = values_.find(key);
    if (found == values_.end()) return nullptr;
    const auto* value = std::get_if<T>(&found->second);
    QUIVER_CHECK(value, format, place(key), "expected {}, found another type", name_of(static_cast<T*>(nullptr)));
    return value;
  }
  template <typename T>
  const T& at(const std::string& key) const {
    const auto* value = find<T>(key);
    QUIVER_CHECK(value, format, place(key), "the key is missing");
    return *value;
  }
  std::optional<TokenId> id(const std::string& key, std::size_t size) const {
    const auto* value = find<std::int64_t>(key);
    if (!value) return std::nullopt;
    QUIVER_CHECK(*value >= 0 && static_cast<std::uint64_t>(*value) < size, format, place(key),
                 "token id {} of a vocabulary of {}", *value, size);
    return static_cast<TokenId>(*value);
  }

 private:
  static const char* name_of(const bool*) { return "true or false"; }
  static const char* name_of(const std::int64_t*) { return "a whole number"; }
  static const char* name_of(const std::string*) { return "a string"; }
  static const char* name_of(const std::vector<std::int64_t>*) { return "an array of whole numbers"; }
  static const char* name_of(const std::vector<std::string>*) { return "an array of strings"; }

  const GgufMetadata& values_;
  std::string file_;
};

enum class TokenType : std::int64_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct NamedPreTokenizer {
  std::vector<std::string> names;
  std::vector<const char*> patterns;  // each splits what the one before left; every match is a word
  bool each_digit = false;            // digits are parted first
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
  bool nfc = false;      // as the models' own tokenizer.json does
};

// The names and patterns that converters write and llama.cpp reads.
const std::vector<NamedPreTokenizer>& table() {
  static const std::vector<NamedPreTokenizer> kTable = {
      {.names = {"gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "granite-docling"}, .patterns = {kGpt2Pattern}},
      {.names = {"smollm", "starcoder", "refact", "codeshell", "exaone"},
       .patterns = {kGpt2Pattern},
       .each_digit = true},
      {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3"},
       .patterns = {kLlama3Pattern},
       .ignore_merges = true,
       .add_bos = true},
      {.names = {"dbrx", "smaug-bpe"}, .patterns = {kLlama3Pattern}},
      {.names = {"qwen2", "deepseek-r1-qwen"}, .patterns = {kQwen2Pattern}, .nfc = true},
      {.names = {"gpt-4o"}, .patterns = {kGpt4oPattern}},
      {.names = {"default"}, .patterns = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
  };
  return kTable;
}

const NamedPreTokenizer& find_pre_tokenizer(const std::string& name, const std::string& place) {
  std::vector<std::string> known;
  for (const auto& entry : table()) {
    if (std::find(entry.names.begin(), entry.names.end(), name) != entry.names.end()) return entry;
    known.insert(known.end(), entry.names.begin(), entry.names.end());
  }
  fail(ErrorCode::unsupported, place, "pre-tokenizer '{}' is not supported{}", name, suggestion(name, known));
}

BpeVocabulary read_vocabulary(const Metadata& metadata) {
  BpeVocabulary vocabulary;
  vocabulary.pieces = metadata.at<std::vector<std::string>>("tokenizer.ggml.tokens");
  const auto place = metadata.place("tokenizer.ggml.tokens");
  QUIVER_CHECK(vocabulary.pieces.size() <= kMaxVocabulary, format, place, "{} tokens; at most {} are read",
               vocabulary.pieces.size(), kMaxVocabulary);
  for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    QUIVER_CHECK(is_valid_utf8(vocabulary.pieces[id]), format, place, "token {} is not UTF-8", id);
  }
  const auto merges_place = metadata.place("tokenizer.ggml.merges");
  for (const auto& merge : metadata.at<std::vector<std::string>>("tokenizer.ggml.merges")) {
    vocabulary.merges.push_back(split_merge(merge, merges_place));
  }
  return vocabulary;
}

std::vector<AddedToken> read_added_tokens(const Metadata& metadata, const std::vector<std::string>& pieces) {
  std::vector<AddedToken> added;
  const auto* types = metadata.find<std::vector<std::int64_t>>("tokenizer.ggml.token_type");
  if (!types) return added;
  QUIVER_CHECK(types->size() == pieces.size(), format, metadata.place("tokenizer.ggml.token_type"),
               "{} types for {} tokens", types->size(), pieces.size());
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    const auto type = static_cast<TokenType>((*types)[id]);
    const bool special = type == TokenType::control || type == TokenType::unknown;
    if ((!special && type != TokenType::user_defined) || pieces[id].empty()) continue;
    AddedToken token;
    token.id = static_cast<TokenId>(id);
    token.content = pieces[id];
    token.special = special;
    added.push_back(std::move(token));
  }
  return added;
}

// Control tokens that end a turn wherever they are there, as llama.cpp knows them: many files do not name theirs.
constexpr std::array kEndsOfTurn{"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<end_of_utterance>", "<EOT>"};

// The token that ends a text, then those that end a turn or a message; of these, ids outside the vocabulary are passed
// over, as llama.cpp does.
std::vector<TokenId> read_ends(const Metadata& metadata, std::size_t size, const std::vector<AddedToken>& added) {
  std::vector<TokenId> ends;
  const auto add = [&](TokenId id) {
    if (std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
  };
  if (const auto eos = metadata.id("tokenizer.ggml.eos_token_id", size)) add(*eos);
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    const auto* id = metadata.find<std::int64_t>(key);
    if (id && *id >= 0 && static_cast<std::uint64_t>(*id) < size) add(static_cast<TokenId>(*id));
  }
  if (metadata.find<std::int64_t>("tokenizer.ggml.eot_token_id")) return ends;
  for (const auto& token : added) {
    if (token.special && std::find(kEndsOfTurn.begin(), kEndsOfTurn.end(), token.content) != kEndsOfTurn.end())
      add(token.id);
  }
  return ends;
}

bool wants(const Metadata& metadata, const char* key, bool otherwise) {
  const auto* value = metadata.find<bool>(key);
  return value ? *value : otherwise;
}

void read_template(const Metadata& metadata, bool bos_by_default, TokenizerParts& parts) {
  if (wants(metadata, "tokenizer.ggml.add_bos_token", bos_by_default)) {
    QUIVER_CHECK(parts.bos_id, format, metadata.place("tokenizer.ggml.bos_token_id"),
                 "texts begin with BOS, but the key is missing");
    parts.prefix = {*parts.bos_id};
  }
  if (wants(metadata, "tokenizer.ggml.add_eos_token", false)) {
    QUIVER_CHECK(!parts.eos_ids.empty(), format, metadata.place("tokenizer.ggml.eos_token_id"),
                 "texts end with EOS, but the key is missing");
    parts.suffix = {parts.eos_ids.front()};
  }
}

}  // namespace

TokenizerParts read_tokenizer_gguf(const GgufMetadata& values, const std::string& file) {
  const Metadata metadata(values, file);
  const auto& model = metadata.at<std::string>("tokenizer.ggml.model");
  QUIVER_CHECK(model == "gpt2", unsupported, metadata.place("tokenizer.ggml.model"),
               "tokenizer model '{}' is not supported; 'gpt2' is", model);
  QUIVER_CHECK(!wants(metadata, "tokenizer.ggml.add_space_prefix", false), unsupported,
               metadata.place("tokenizer.ggml.add_space_prefix"), "a space prefix in a byte-level tokenizer");
  const auto* name = metadata.find<std::string>("tokenizer.ggml.pre");
  const auto& named = find_pre_tokenizer(name ? *name : "default", metadata.place("tokenizer.ggml.pre"));
  TokenizerParts parts;
  parts.vocabulary = read_vocabulary(metadata);
  parts.bpe.byte_level = true;
  parts.bpe.ignore_merges = named.ignore_merges;
  const auto size = parts.vocabulary.pieces.size();
  parts.added = read_added_tokens(metadata, parts.vocabulary.pieces);
  if (named.nfc) parts.normalizer.emplace_back(UnicodeForm::nfc);
  if (named.each_digit) parts.pre_tokenizer.emplace_back(DigitsStep{true});
  for (const auto* pattern : named.patterns) {
    parts.pre_tokenizer.emplace_back(SplitStep{Regex::compile(pattern, metadata.place("tokenizer.ggml.pre"))});
  }
  parts.decoder = {ByteLevelDecode{}};
  parts.bos_id = metadata.id("tokenizer.ggml.bos_token_id", size);
  parts.eos_ids = read_ends(metadata, size, parts.added);
  read_template(metadata, named.add_bos, parts);
  return parts;
}

std::string chat_template_gguf(const GgufMetadata& values, const std::string& file) {
  const auto* source = Metadata(values, file).find<std::string>("tokenizer.chat_template");
  return source ? *source : std::string();
}

}  // namespace quiver::text
