// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/safetensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/tensor_io/mapped_file.h"
#include "quiver/tensor_io/safetensors_header.h"

namespace quiver::tensor_io {
namespace {

using nlohmann::json;

[[noreturn]] void fail_missing(const std::string& where, const std::string& name,
                               const std::map<std::string, TensorInfo>& known) {
  std::vector<std::string> names;
  for (const auto& [known_name, info] : known) names.push_back(known_name);
  fail(ErrorCode::not_found, where, "no tensor '{}'{}", name, suggestion(name, names));
}

class SafetensorsFile : public TensorSource {
 public:
  explicit SafetensorsFile(const fs::path& path) : where_(path.string()), file_(MappedFile::open(path)) {
    header_ = parse_safetensors_header(file_->bytes(), where_);
    for (const auto& [name, entry] : header_.entries) tensors_[name] = entry.info;
  }

  const std::map<std::string, TensorInfo>& tensors() const override { return tensors_; }

  at::Tensor load(const std::string& name) const override {
    const auto& entry = find(name);
    const auto* data = file_->bytes().data() + entry.begin;
    const auto options = at::TensorOptions().dtype(entry.dtype);
    if (reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(entry.dtype) != 0 || entry.info.bytes == 0) {
      auto copy = at::empty(entry.info.shape, options);
      if (entry.info.bytes) std::memcpy(copy.data_ptr(), data, entry.info.bytes);
      return copy;
    }
    return at::from_blob(
        const_cast<std::byte*>(data), entry.info.shape, [keep = file_](void*) {}, options);
  }

  const void* stored_bytes(const std::string& name) const override { return file_->bytes().data() + find(name).begin; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

 private:
  const SafetensorsEntry& find(const std::string& name) const {
    const auto found = header_.entries.find(name);
    if (found == header_.entries.end()) fail_missing(where_, name, tensors_);
    return found->second;
  }

  std::string where_;
  std::shared_ptr<const MappedFile> file_;
  SafetensorsHeader header_;
  std::map<std::string, TensorInfo> tensors_;
};

/// Tensors spread over several files.
class ShardedSource : public TensorSource {
 public:
  ShardedSource(const fs::path& folder, const json& weight_map, const std::string& where) : where_(where) {
    std::map<std::string, std::shared_ptr<SafetensorsFile>> files;
    for (const auto& [name, file] : weight_map.items()) {
      QUIVER_CHECK(file.is_string(), format, where, "'{}' is mapped to {}, expected a file name", name,
                   file.dump().substr(0, 40));
      const auto shard = file.get<std::string>();
      QUIVER_CHECK(!shard.empty() && shard.find_first_of("/\\") == std::string::npos && shard != "." && shard != "..",
                   format, where, "shard '{}' of '{}' is not a plain file name", shard, name);
      auto& opened = files[shard];
      if (!opened) opened = std::make_shared<SafetensorsFile>(folder / shard);
      const auto info = opened->tensors().find(name);
      QUIVER_CHECK(info != opened->tensors().end(), format, where, "'{}' is not in {}, where the index puts it", name,
                   shard);
      tensors_[name] = info->second;
      owners_[name] = opened;
    }
    for (const auto& [shard, file] : files) {
      for (const auto& [name, info] : file->tensors()) {
        const auto owner = owners_.find(name);
        QUIVER_CHECK(owner != owners_.end() && owner->second == file, format, where, "'{}' of {} is not in the index",
                     name, shard);
      }
    }
  }

  const std::map<std::string, TensorInfo>& tensors() const override { return tensors_; }
  at::Tensor load(const std::string& name) const override { return owner(name).load(name); }
  const void* stored_bytes(const std::string& name) const override { return owner(name).stored_bytes(name); }

 private:
  const SafetensorsFile& owner(const std::string& name) const {
    const auto found = owners_.find(name);
    if (found == owners_.end()) fail_missing(where_, name, tensors_);
    return *found->second;
  }

  std::string where_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::shared_ptr<SafetensorsFile>> owners_;
};

}  // namespace

std::shared_ptr<TensorSource> open_safetensors(const fs::path& file) { return std::make_shared<SafetensorsFile>(file); }

std::map<std::string, std::string> safetensors_metadata(const fs::path& file) {
  return SafetensorsFile(file).metadata();
}

std::shared_ptr<TensorSource> open_safetensors_folder(const fs::path& folder) {
  const auto index_path = folder / "model.safetensors.index.json";
  if (!fs::exists(index_path)) {
    QUIVER_CHECK(fs::exists(folder / "model.safetensors"), not_found, folder.string(),
                 "neither model.safetensors nor model.safetensors.index.json is in it");
    return open_safetensors(folder / "model.safetensors");
  }
  const auto where = index_path.string();
  const auto index = json::parse(read_file(index_path, 1 << 28), nullptr, false);
  QUIVER_CHECK(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(), format, where,
               "expected an object with a 'weight_map'");
  return std::make_shared<ShardedSource>(folder, index["weight_map"], where);
}

void write_safetensors(const fs::path& file, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<std::pair<std::string, at::Tensor>> order;
  for (const auto& [name, tensor] : tensors) order.emplace_back(name, tensor.detach().contiguous());
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.second.element_size() > b.second.element_size(); });
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : order) {
    const auto end = offset + tensor.nbytes();
    header[name] = {{"dtype", safetensors_dtype(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  auto text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  write_file_atomically(file, [&](const fs::path& temporary) {
    std::ofstream stream(temporary, std::ios::binary);
    const auto length = static_cast<std::uint64_t>(text.size());
    stream.write(reinterpret_cast<const char*>(&length), sizeof length);
    stream.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const auto& [name, tensor] : order) {
      stream.write(static_cast<const char*>(tensor.const_data_ptr()), static_cast<std::streamsize>(tensor.nbytes()));
    }
    stream.close();
    QUIVER_CHECK(stream.good(), io, file.string(), "cannot write {} bytes", text.size() + offset);
  });
}

}  // namespace quiver::tensor_io
