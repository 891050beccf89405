// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/load_tokenizer.h"

#include "quiver/base/error.h"
#include "quiver/tensor_io/gguf.h"
#include "quiver/text/tokenizer_folder.h"
#include "quiver/text/tokenizer_gguf.h"

namespace quiver::text {
namespace {

LoadedTokenizer assemble(TokenizerParts parts, std::string chat_template, const std::string& where) {
  LoadedTokenizer loaded;
  loaded.tokenizer = std::make_shared<const Tokenizer>(std::move(parts), where);
  if (!chat_template.empty()) loaded.chat_template.emplace(std::move(chat_template));
  return loaded;
}

LoadedTokenizer load_gguf(const fs::path& path) {
  const auto file = tensor_io::GgufFile::open(path);
  const auto name = path.filename().string();
  return assemble(read_tokenizer_gguf(file->metadata(), name), chat_template_gguf(file->metadata(), name), name);
}

}  // namespace

LoadedTokenizer load_tokenizer(const fs::path& model) {
  if (tensor_io::is_gguf(model)) return load_gguf(model);
  const auto file = find_tokenizer_file(model);
  QUIVER_CHECK(file, not_found, model.string(),
               "expected a GGUF file or a folder with a tokenizer.json or a spiece.model");
  return assemble(read_tokenizer_folder(model), read_chat_template(model), *file);
}

}  // namespace quiver::text
