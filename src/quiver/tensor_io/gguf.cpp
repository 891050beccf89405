// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/gguf.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <fstream>

#include "quiver/base/error.h"
#include "quiver/tensor_io/gguf_dequantise.h"
#include "quiver/tensor_io/gguf_parser.h"
#include "quiver/tensor_io/mapped_tensor.h"

namespace quiver::tensor_io {
namespace {

at::ScalarType plain_dtype(GgufType type) {
  return type == GgufType::F16 ? at::kHalf : type == GgufType::BF16 ? at::kBFloat16 : at::kFloat;
}

at::Tensor expanded(const GgufTypeInfo& type, const std::byte* blocks, const TensorInfo& info) {
  constexpr std::int64_t kGrain_blocks = 1024;
  auto out = at::empty(info.shape, at::kFloat);
  float* values = out.data_ptr<float>();
  const auto count = static_cast<std::int64_t>(info.bytes / type.block_bytes);
  at::parallel_for(0, count, kGrain_blocks, [&](std::int64_t begin, std::int64_t end) {
    const auto first = static_cast<std::uint64_t>(begin);
    dequantise(type, blocks + first * type.block_bytes, end - begin, values + first * type.block_values);
  });
  return out;
}

}  // namespace

bool is_gguf(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  return file.read(magic, sizeof magic) && std::string_view(magic, sizeof magic) == "GGUF";
}

std::optional<GgufPart> gguf_part_of_name(const fs::path& path) {
  constexpr std::string_view kForm = "-00000-of-00000.gguf";
  const auto name = path.filename().string();
  if (name.size() < kForm.size()) return std::nullopt;
  const auto ending = name.substr(name.size() - kForm.size());
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    const bool fits = kForm[i] == '0' ? ending[i] >= '0' && ending[i] <= '9' : ending[i] == kForm[i];
    if (!fits) return std::nullopt;
  }
  return GgufPart{std::stoll(ending.substr(1, 5)) - 1, std::stoll(ending.substr(10, 5)),
                  name.substr(0, name.size() - kForm.size())};
}

std::shared_ptr<GgufFile> GgufFile::open(const fs::path& path) {
  auto out = open_part(path);
  out->join_parts(path);
  return out;
}

std::shared_ptr<GgufFile> GgufFile::open_part(const fs::path& path) {
  std::shared_ptr<GgufFile> out(new GgufFile);
  out->where_ = path.string();
  out->file_ = MappedFile::open(path);
  GgufParser(*out).parse();
  for (auto& [name, entry] : out->entries_) entry.file = out->file_;
  return out;
}

void GgufFile::join_parts(const fs::path& path) {
  constexpr const char *kCount = "split.count", *kNumber = "split.no", *kTensors = "split.tensors.count";
  constexpr std::int64_t kMaxParts = 1000;
  const auto count = find_integer(kCount).value_or(1), number = find_integer(kNumber).value_or(0);
  if (count <= 1) return;
  QUIVER_CHECK(count <= kMaxParts && number >= 0 && number < count, format, where_,
               "part {} of a model split in {}, expected at most {} parts", number + 1, count, kMaxParts);
  const auto ending = [count](std::int64_t n) { return fmt::format("-{:05}-of-{:05}.gguf", n + 1, count); };
  const auto named = gguf_part_of_name(path);
  QUIVER_CHECK(number == 0, unsupported, where_, "part {} of a model split in {}, expected its first part, *{}",
               number + 1, count, ending(0));
  QUIVER_CHECK(named && named->number == 0 && named->count == count, unsupported, where_,
               "the first part of a model split in {}, expected a name that ends in {}, by which the others are found",
               count, ending(0));
  for (std::int64_t n = 1; n < count; ++n) {
    const auto file = path.parent_path() / (named->stem + ending(n));
    QUIVER_CHECK(fs::exists(file), not_found, where_, "a model split in {}, whose part {} is missing", count,
                 file.filename().string());
    const auto part = open_part(file);
    QUIVER_CHECK(part->find_integer(kCount) == count && part->find_integer(kNumber) == n, format, file.string(),
                 "not part {} of a model split in {}", n + 1, count);
    for (const auto& [tensor, entry] : part->entries_) {
      QUIVER_CHECK(entries_.emplace(tensor, entry).second, format, file.string(), "tensor '{}' is in another part too",
                   tensor);
      infos_.emplace(tensor, part->infos_.at(tensor));
    }
  }
  const auto total = static_cast<std::int64_t>(entries_.size());
  QUIVER_CHECK(find_integer(kTensors).value_or(total) == total, format, where_,
               "its parts hold {} tensors, expected {}", total, integer(kTensors));
}

const GgufValue& GgufFile::value(const std::string& key) const {
  const auto found = metadata_.find(key);
  QUIVER_CHECK(found != metadata_.end(), format, where_, "metadata '{}' is missing", key);
  return found->second;
}

const std::string& GgufFile::text(const std::string& key) const {
  const auto* out = std::get_if<std::string>(&value(key));
  QUIVER_CHECK(out, format, where_, "metadata '{}' is not text", key);
  return *out;
}

std::int64_t GgufFile::integer(const std::string& key) const {
  const auto* out = std::get_if<std::int64_t>(&value(key));
  QUIVER_CHECK(out, format, where_, "metadata '{}' is not a whole number", key);
  return *out;
}

double GgufFile::number(const std::string& key) const {
  if (const auto* whole = std::get_if<std::int64_t>(&value(key))) return static_cast<double>(*whole);
  const auto* out = std::get_if<double>(&value(key));
  QUIVER_CHECK(out, format, where_, "metadata '{}' is not a number", key);
  return *out;
}

std::optional<std::string> GgufFile::find_text(const std::string& key) const {
  return metadata_.contains(key) ? std::optional(text(key)) : std::nullopt;
}
std::optional<std::int64_t> GgufFile::find_integer(const std::string& key) const {
  return metadata_.contains(key) ? std::optional(integer(key)) : std::nullopt;
}
std::optional<double> GgufFile::find_number(const std::string& key) const {
  return metadata_.contains(key) ? std::optional(number(key)) : std::nullopt;
}

const GgufFile::Entry& GgufFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) fail_missing_tensor(where_, name, infos_);
  return found->second;
}

const void* GgufFile::stored_bytes(const std::string& name) const {
  const auto& place = entry(name);
  return place.file->bytes().data() + place.begin;
}

at::Tensor GgufFile::load(const std::string& name) const {
  const auto& [type, begin, file] = entry(name);
  const auto& info = infos_.at(name);
  if (type->block_values == 1) return mapped_tensor(file, begin, info.shape, plain_dtype(type->type));
  return expanded(*type, file->bytes().data() + begin, info);
}

}  // namespace quiver::tensor_io
