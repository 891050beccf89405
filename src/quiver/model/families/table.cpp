// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/families/table.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/model/families/config_fields.h"
#include "quiver/model/families/llama.h"
#include "quiver/model/families/t5.h"

namespace quiver::model {
namespace {

std::string known_architectures() {
  std::vector<std::string> out;
  for (const auto& family : family_table())
    out.insert(out.end(), family.architectures.begin(), family.architectures.end());
  return join(out, ", ");
}

}  // namespace

const std::vector<Family>& family_table() {
  static const std::vector<Family> table{
      {{"LlamaForCausalLM", "LlamaModel", "llama", "MistralForCausalLM", "mistral"},
       "llama",
       llama::load,
       llama::load_gguf,
       nullptr},
      {{"T5ForConditionalGeneration", "T5WithLMHeadModel", "MT5ForConditionalGeneration", "t5", "mt5"},
       "",
       t5::load,
       nullptr,
       t5::random_weights},
  };
  return table;
}

const Family& family_of(const nlohmann::json& config, const std::string& where) {
  const auto name = architecture_of(config);
  for (const auto& family : family_table()) {
    const auto& names = family.architectures;
    if (std::find(names.begin(), names.end(), name) != names.end()) return family;
  }
  fail(ErrorCode::unsupported, where, "architecture '{}', known: {}", name, known_architectures());
}

const Family& family_of_gguf(const tensor_io::GgufFile& file, const std::string& where) {
  const auto name = file.text("general.architecture");
  std::vector<std::string> known;
  for (const auto& family : family_table()) {
    if (!family.load_gguf) continue;
    if (family.gguf_architecture == name) return family;
    known.push_back(family.gguf_architecture);
  }
  fail(ErrorCode::unsupported, where, "GGUF architecture '{}', known: {}", name, join(known, ", "));
}

}  // namespace quiver::model
