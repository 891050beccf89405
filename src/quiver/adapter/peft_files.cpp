// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/peft_files.h"

#include "quiver/base/error.h"

namespace quiver::adapter {

using nlohmann::json;

std::string module_of(const std::string& key, std::string_view suffix) {
  if (!key.starts_with(kKeyPrefix) || !key.ends_with(suffix) || key.size() <= kKeyPrefix.size() + suffix.size())
    return "";
  return key.substr(kKeyPrefix.size(), key.size() - kKeyPrefix.size() - suffix.size());
}

void check_known(const Tensors& left, const std::string& where) {
  QUIVER_CHECK(left.empty(), unsupported, where, "{} tensors are of no kind known here, the first is '{}'", left.size(),
               left.begin()->first);
}

at::Tensor take_one(Tensors& left, const std::string& key, std::int64_t dims, const std::string& where) {
  const auto found = left.find(key);
  if (found == left.end()) return {};
  QUIVER_CHECK(found->second.dim() == dims && found->second.numel() >= 1, format, where, "'{}' has not {} dimensions",
               key, dims);
  auto out = found->second;
  left.erase(found);
  return out;
}

at::Tensor take_vectors(Tensors left, const json& config, const std::string& where) {
  auto vectors = take_one(left, kPromptKey, 2, where);
  check_known(left, where);
  QUIVER_CHECK(vectors.defined(), format, where, "no {}", kPromptKey);
  // PEFT keeps as many again for a decoder's sake, and does not read them.
  const auto used = config.value("num_virtual_tokens", json());
  if (used.is_null()) return vectors;
  QUIVER_CHECK(used.is_number_integer() && used >= 1 && used <= vectors.size(0), mismatch, where,
               "'num_virtual_tokens' is {}, {} holds {}", used.dump().substr(0, 80), kPromptKey, vectors.size(0));
  return vectors.narrow(0, 0, used).contiguous();
}

json config_of(const std::string& type, const Adapter& adapter, const std::string& base_model) {
  return {{"peft_type", type},
          {"base_model_name_or_path", base_model},
          {"inference_mode", true},
          {"task_type", task_type(adapter)}};
}

std::vector<std::string> modules(const std::set<std::string>& names) { return {names.begin(), names.end()}; }

}  // namespace quiver::adapter
