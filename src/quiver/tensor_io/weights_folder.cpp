// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/weights_folder.h"

#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/tensor_io/mapped_tensor.h"
#include "quiver/tensor_io/plain_name.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/strict_json.h"
#include "quiver/tensor_io/torch_archive.h"

namespace quiver::tensor_io {
namespace {

using nlohmann::json;
using Open = std::shared_ptr<TensorSource> (*)(const fs::path&);
constexpr std::uint64_t kMaxIndex_bytes = 100'000'000;

bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find_first_of("/\\:") == std::string::npos &&
         is_plain_name(name);
}

/// Tensors spread over several files, as an index says.
class ShardedSource : public TensorSource {
 public:
  ShardedSource(const fs::path& index, const json& weight_map, Open open)
      : folder_(index.parent_path()), where_(index.string()), open_(open) {
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
    if (!file) file = open_(folder_ / shard);
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
  Open open_;
  std::map<std::string, std::shared_ptr<TensorSource>> files_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, const TensorSource*> owners_;
};

std::shared_ptr<TensorSource> open_index(const fs::path& index, Open open) {
  const auto parsed = parse_strict_json(read_file(index, kMaxIndex_bytes), {}, index.string());
  QUIVER_CHECK(parsed.contains("weight_map") && parsed["weight_map"].is_object(), format, index.string(),
               "expected an object 'weight_map', which maps tensors to files");
  return std::make_shared<ShardedSource>(index, parsed["weight_map"], open);
}

}  // namespace

std::shared_ptr<TensorSource> open_weights_folder(const fs::path& folder) {
  constexpr std::pair<const char*, Open> kForms[] = {{"model.safetensors", open_safetensors},
                                                     {"pytorch_model.bin", open_torch_tensors}};
  std::error_code ignored;
  for (const auto& [name, open] : kForms) {
    if (const auto whole = folder / name; fs::exists(whole, ignored)) return open(whole);
    if (const auto index = folder / (std::string(name) + ".index.json"); fs::exists(index, ignored))
      return open_index(index, open);
  }
  fail(ErrorCode::not_found, folder.string(),
       "expected model.safetensors or pytorch_model.bin in it, or an index of either, NAME.index.json");
}

}  // namespace quiver::tensor_io
