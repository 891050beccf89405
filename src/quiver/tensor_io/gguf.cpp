// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/gguf.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

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

std::shared_ptr<GgufFile> GgufFile::open(const fs::path& path) {
  std::shared_ptr<GgufFile> out(new GgufFile);
  out->where_ = path.string();
  out->file_ = MappedFile::open(path);
  GgufParser(*out).parse();
  return out;
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

const void* GgufFile::stored_bytes(const std::string& name) const { return file_->bytes().data() + entry(name).begin; }

at::Tensor GgufFile::load(const std::string& name) const {
  const auto& [type, begin] = entry(name);
  const auto& info = infos_.at(name);
  if (type->block_values == 1) return mapped_tensor(file_, begin, info.shape, plain_dtype(type->type));
  return expanded(*type, file_->bytes().data() + begin, info);
}

}  // namespace quiver::tensor_io
