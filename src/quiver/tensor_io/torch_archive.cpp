// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/torch_archive.h"

#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/tensor_io/mapped_tensor.h"
#include "quiver/tensor_io/plain_name.h"
#include "quiver/tensor_io/safetensors_header.h"
#include "quiver/tensor_io/strict_json.h"
#include "quiver/tensor_io/torch_archive_zip.h"
#include "quiver/tensor_io/torch_stream.h"

namespace quiver::tensor_io {
namespace {

using Kind = PickleValue::Kind;
constexpr std::string_view kPickle = "/data.pkl";

/// `NAME` of the one entry `NAME/data.pkl`.
std::string archive_name(const std::map<std::string, ZipEntry>& entries, const std::string& where) {
  std::string name;
  for (const auto& [entry, place] : entries) {
    if (!entry.ends_with(kPickle) || entry.find('/') != entry.size() - kPickle.size()) continue;
    QUIVER_CHECK(name.empty(), format, where, "two entries that end in {}", kPickle);
    name = entry.substr(0, entry.size() - kPickle.size());
  }
  QUIVER_CHECK(!name.empty(), format, where, "no entry NAME{}, so torch.save did not write it", kPickle);
  return name;
}

void check_byte_order(std::span<const std::byte> file, const std::map<std::string, ZipEntry>& entries,
                      const std::string& name, const std::string& where) {
  const auto found = entries.find(name + "/byteorder");
  if (found == entries.end()) return;
  const std::string_view order(reinterpret_cast<const char*>(file.data()) + found->second.begin,
                               found->second.size_bytes);
  QUIVER_CHECK(order == "little", unsupported, where, "byte order {}, expected little", excerpt(order));
}

class TorchTensors : public TensorSource {
 public:
  explicit TorchTensors(const fs::path& path) : where_(path.string()) {
    const auto pickle = read_torch_archive(path);
    QUIVER_CHECK(pickle.root->kind == Kind::dictionary, format, where_, "holds {}, expected a dictionary of tensors",
                 kind_name(pickle.root->kind));
    const auto& items = pickle.root->items;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) add(*items[i], *items[i + 1]);
  }

  const std::map<std::string, TensorInfo>& tensors() const override { return infos_; }
  at::Tensor load(const std::string& name) const override { return tensor(name); }
  const void* stored_bytes(const std::string& name) const override { return tensor(name).const_data_ptr(); }

 private:
  void add(const PickleValue& key, const PickleValue& value) {
    QUIVER_CHECK(key.kind == Kind::text && is_plain_name(key.text), format, where_, "{} names an entry, expected text",
                 key.kind == Kind::text ? excerpt(key.text) : kind_name(key.kind));
    QUIVER_CHECK(value.kind == Kind::tensor, unsupported, where_, "'{}' is {}, expected a tensor", key.text,
                 kind_name(value.kind));
    const auto tensor = value.tensor.contiguous();
    QUIVER_CHECK(tensors_.emplace(key.text, tensor).second, format, where_, "tensor '{}' stands twice", key.text);
    const auto type = safetensors_dtype(tensor.scalar_type());
    infos_[key.text] = {tensor.sizes().vec(), type ? type->name : c10::toString(tensor.scalar_type()), tensor.nbytes()};
  }
  const at::Tensor& tensor(const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) fail_missing_tensor(where_, name, infos_);
    return found->second;
  }

  std::string where_;
  std::map<std::string, at::Tensor> tensors_;
  std::map<std::string, TensorInfo> infos_;
};

}  // namespace

Pickle read_torch_archive(const fs::path& path) {
  const auto where = path.string();
  const auto file = MappedFile::open(path);
  if (is_torch_stream(file->bytes())) return read_torch_stream(file, where);
  const auto entries = parse_stored_zip(file->bytes(), where);
  const auto name = archive_name(entries, where);
  check_byte_order(file->bytes(), entries, name, where);
  const auto storage = [&](const std::string& key, at::ScalarType dtype, std::int64_t elements) {
    const auto found = entries.find(name + "/data/" + key);
    QUIVER_CHECK(found != entries.end(), format, where, "storage '{}' is not in the archive", key);
    const auto size = found->second.size_bytes, element = static_cast<std::uint64_t>(c10::elementSize(dtype));
    QUIVER_CHECK(size % element == 0 && static_cast<std::uint64_t>(elements) == size / element, format, where,
                 "storage '{}' has {} bytes, the pickle claims {} elements of {}", key, size, elements,
                 c10::toString(dtype));
    return mapped_tensor(file, found->second.begin, {elements}, dtype);
  };
  const auto& pickle = entries.at(name + std::string(kPickle));
  return parse_pickle(file->bytes().subspan(pickle.begin, pickle.size_bytes), storage, where);
}

std::shared_ptr<TensorSource> open_torch_tensors(const fs::path& file) { return std::make_shared<TorchTensors>(file); }

}  // namespace quiver::tensor_io
