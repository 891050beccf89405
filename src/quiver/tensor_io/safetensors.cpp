// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/safetensors.h"

#include "quiver/tensor_io/mapped_tensor.h"
#include "quiver/tensor_io/safetensors_header.h"

namespace quiver::tensor_io {
namespace {

class SafetensorsFile : public TensorSource {
 public:
  explicit SafetensorsFile(const fs::path& path) : where_(path.string()), file_(MappedFile::open(path)) {
    entries_ = parse_safetensors_header(file_->bytes(), where_).entries;
    for (const auto& [name, entry] : entries_) tensors_[name] = entry.info;
  }

  const std::map<std::string, TensorInfo>& tensors() const override { return tensors_; }

  at::Tensor load(const std::string& name) const override {
    const auto& found = entry(name);
    return mapped_tensor(file_, found.begin, found.info.shape, found.dtype);
  }

  const void* stored_bytes(const std::string& name) const override { return file_->bytes().data() + entry(name).begin; }

 private:
  const SafetensorsEntry& entry(const std::string& name) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) fail_missing_tensor(where_, name, tensors_);
    return found->second;
  }

  std::string where_;
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, TensorInfo> tensors_;
};

}  // namespace

std::shared_ptr<TensorSource> open_safetensors(const fs::path& file) { return std::make_shared<SafetensorsFile>(file); }

std::map<std::string, std::string> safetensors_metadata(const fs::path& file) {
  return parse_safetensors_header(MappedFile::open(file)->bytes(), file.string()).metadata;
}

}  // namespace quiver::tensor_io
