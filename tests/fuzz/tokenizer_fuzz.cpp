// SPDX-License-Identifier: Apache-2.0
// libFuzzer entry point: any bytes are a tokenizer, as tokenizer.json or as a SentencePiece model, that encodes and
// decodes, or an Error, never anything else.
#include <cstddef>
#include <cstdint>
#include <string>

#include "quiver/base/error.h"
#include "quiver/text/tokenizer_json.h"
#include "quiver/text/tokenizer_sentencepiece.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace quiver::text;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  try {
    auto parts = bytes.starts_with('{') ? parse_tokenizer_json(bytes, "fuzz") : parse_sentencepiece(bytes, "fuzz");
    const Tokenizer tokenizer(std::move(parts), "fuzz");
    tokenizer.decode(tokenizer.encode("  The caf\u00e9\t\u4e2d e\u0301 </s> <unk>", {.add_special_tokens = true}));
  } catch (const quiver::Error&) {
  }
  return 0;
}
