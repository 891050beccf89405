// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/load_tokenizer.h"

#include "quiver/base/error.h"
#include "quiver/text/tokenizer_json.h"

namespace quiver::text {

LoadedTokenizer load_tokenizer(const fs::path& model) {
  QUIVER_CHECK(fs::exists(model / "tokenizer.json"), not_found, model.string(),
               "expected a folder with a tokenizer.json");
  LoadedTokenizer loaded;
  loaded.tokenizer = std::make_shared<const Tokenizer>(read_tokenizer_folder(model), "tokenizer.json");
  if (auto source = read_chat_template(model); !source.empty()) loaded.chat_template.emplace(std::move(source));
  return loaded;
}

}  // namespace quiver::text
