// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/tensor_io/plain_name.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/safetensors_header.h"
#include "quiver/tensor_io/strict_json.h"

namespace quiver::tensor_io {
namespace {

using nlohmann::json;

struct Item {
  std::string name;
  at::Tensor tensor;
  SafetensorsDtype type;
  std::uint64_t bytes;
};

Item item_of(const std::string& name, const at::Tensor& tensor, const std::string& where) {
  QUIVER_CHECK(is_plain_name(name) && name != kSafetensorsMetadataKey, format, where, "{} cannot name a tensor",
               excerpt(name));
  QUIVER_CHECK(tensor.defined() && tensor.layout() == at::kStrided, unsupported, where,
               "tensor '{}' is undefined or sparse, expected a dense one", name);
  const auto type = safetensors_dtype(tensor.scalar_type());
  QUIVER_CHECK(type, unsupported, where, "tensor '{}' has type {}, which safetensors does not have", name,
               c10::toString(tensor.scalar_type()));
  return {name, tensor.detach(), *type, static_cast<std::uint64_t>(tensor.numel()) * tensor.element_size()};
}

/// In the order of the file.
std::vector<Item> items_of(const std::map<std::string, at::Tensor>& tensors, const std::string& where) {
  std::vector<Item> items;
  for (const auto& [name, tensor] : tensors) items.push_back(item_of(name, tensor, where));
  std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.type.rank < b.type.rank; });
  return items;
}

std::string metadata_text(const std::map<std::string, std::string>& metadata, const std::string& where) {
  for (const auto& [key, text] : metadata) {
    QUIVER_CHECK(is_utf8(key) && is_utf8(text), format, where, "metadata {} is not UTF-8", excerpt(key));
  }
  return fmt::format("\"{}\":{}", kSafetensorsMetadataKey, json(metadata).dump());
}

/// Written out, because a JSON object that keeps the order of its keys looks each one up by going through all.
std::string header_of(const std::vector<Item>& items, const std::map<std::string, std::string>& metadata,
                      const std::string& where) {
  std::vector<std::string> entries;
  if (!metadata.empty()) entries.push_back(metadata_text(metadata, where));
  std::uint64_t begin = 0;
  for (const auto& item : items) {
    const auto end = begin + item.bytes;
    entries.push_back(fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
                                  json(item.name).dump(), item.type.name, json(item.tensor.sizes().vec()).dump(), begin,
                                  end));
    begin = end;
  }
  auto text = "{" + join(entries, ",") + "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');
  QUIVER_CHECK(text.size() <= kMaxSafetensorsHeader_bytes, unsupported, where,
               "a header of {} bytes, the limit of the format is {}", text.size(), kMaxSafetensorsHeader_bytes);
  return text;
}

void write_tensor(std::ofstream& stream, const at::Tensor& tensor) {
  const auto plain = tensor.cpu().resolve_conj().resolve_neg().contiguous();  // one copy at a time, where one is needed
  stream.write(static_cast<const char*>(plain.const_data_ptr()), static_cast<std::streamsize>(plain.nbytes()));
}

}  // namespace

void write_safetensors(const fs::path& file, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const auto items = items_of(tensors, file.string());
  const auto header = header_of(items, metadata, file.string());
  write_file_atomically(file, [&](const fs::path& temporary) {
    std::ofstream stream(temporary, std::ios::binary);
    const auto length = static_cast<std::uint64_t>(header.size());
    stream.write(reinterpret_cast<const char*>(&length), sizeof length);
    stream.write(header.data(), static_cast<std::streamsize>(header.size()));
    for (const auto& item : items) write_tensor(stream, item.tensor);
    stream.close();
    QUIVER_CHECK(stream.good(), io, file.string(), "cannot write: {}", std::strerror(errno));
  });
}

}  // namespace quiver::tensor_io
