// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/tensor_io/mapped_tensor.h"
#include "quiver/tensor_io/plain_name.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/strict_json.h"

namespace quiver::tensor_io {
namespace {

using nlohmann::json;
constexpr const char* kWholeFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr std::uint64_t kMaxIndex_bytes = 100'000'000;

bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find_first_of("/\\:") == std::string::npos &&
         is_plain_name(name);
}

/// Tensors spread over several files, as an index says.
class ShardedSource : public TensorSource {
 public:
  ShardedSource(const fs::path& folder, const json& weight_map, const std::string& where)
      : folder_(folder), where_(where) {
    for (const auto& [name, shard] : weight_map.items()) add(name, shard);
    for (const auto& [shard, file] : files_) check_all_listed(shard, *file);
  }

  const std::map<std::string, TensorInfo>& tensors() const override { return tensors_; }
  at::Tensor load(const std::string& name) const override { return owner(name).load(name); }
  const void* stored_bytes(const std::string& name) const override { return owner(name).stored_bytes(name); }

 private:
  void add(const std::string& name, const json& value) {
    QUIVER_CHECK(is_plain_name(name), format, where_, "{} cannot name a tensor", excerpt(name));
    QUIVER_CHECK(value.is_string() && is_plain_file_name(value.get<std::string>()), format, where_,
                 "tensor '{}' is mapped to {}, expected the plain name of a file", name, excerpt(value));
    const auto shard = value.get<std::string>();
    auto& file = files_[shard];
    if (!file) file = open_safetensors(folder_ / shard);
    const auto info = file->tensors().find(name);
    QUIVER_CHECK(info != file->tensors().end(), format, where_, "tensor '{}' is not in '{}', where the index puts it",
                 name, shard);
    tensors_[name] = info->second;
    owners_[name] = file.get();
  }

  void check_all_listed(const std::string& shard, const TensorSource& file) const {
    for (const auto& [name, info] : file.tensors()) {
      const auto owner = owners_.find(name);
      QUIVER_CHECK(owner != owners_.end(), format, where_, "tensor '{}' of '{}' is not in the index", name, shard);
      QUIVER_CHECK(owner->second == &file, format, where_, "tensor '{}' is in '{}' too, the index puts it elsewhere",
                   name, shard);
    }
  }

  const TensorSource& owner(const std::string& name) const {
    const auto found = owners_.find(name);
    if (found == owners_.end()) fail_missing_tensor(where_, name, tensors_);
    return *found->second;
  }

  fs::path folder_;
  std::string where_;
  std::map<std::string, std::shared_ptr<TensorSource>> files_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, const TensorSource*> owners_;
};

}  // namespace

std::shared_ptr<TensorSource> open_safetensors_folder(const fs::path& folder) {
  std::error_code ignored;
  if (const auto index = folder / kIndexFile; fs::exists(index, ignored)) {
    const auto parsed = parse_strict_json(read_file(index, kMaxIndex_bytes), {}, index.string());
    QUIVER_CHECK(parsed.contains("weight_map") && parsed["weight_map"].is_object(), format, index.string(),
                 "expected an object 'weight_map', which maps tensors to files");
    return std::make_shared<ShardedSource>(folder, parsed["weight_map"], index.string());
  }
  QUIVER_CHECK(fs::exists(folder / kWholeFile, ignored), not_found, folder.string(), "expected {} or {} in it",
               kWholeFile, kIndexFile);
  return open_safetensors(folder / kWholeFile);
}

}  // namespace quiver::tensor_io
