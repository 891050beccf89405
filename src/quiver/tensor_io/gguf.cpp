// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/gguf.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/tensor_io/gguf_parser.h"

namespace quiver::tensor_io {
namespace {

at::ScalarType plain_dtype(GgufType type) {
  return type == GgufType::F16 ? at::kHalf : type == GgufType::BF16 ? at::kBFloat16 : at::kFloat;
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
  if (found != entries_.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [known, info] : infos_) names.push_back(known);
  fail(ErrorCode::not_found, where_, "no tensor '{}'{}", name, suggestion(name, names));
}

const void* GgufFile::stored_bytes(const std::string& name) const { return file_->bytes().data() + entry(name).begin; }

at::Tensor GgufFile::load(const std::string& name) const {
  const auto& e = entry(name);
  const auto& shape = infos_.at(name).shape;
  const auto* data = file_->bytes().data() + e.begin;
  if (e.type->block_values == 1) {
    const auto dtype = plain_dtype(e.type->type);
    const auto options = at::TensorOptions().dtype(dtype);
    if (e.values && reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(dtype) == 0) {
      return at::from_blob(
          const_cast<std::byte*>(data), shape, [keep = file_](void*) {}, options);
    }
    auto copy = at::empty(shape, options);
    if (e.values) std::memcpy(copy.data_ptr(), data, infos_.at(name).bytes);
    return copy;
  }
  auto out = at::empty(shape, at::kFloat);
  float* values = out.data_ptr<float>();
  at::parallel_for(0, e.values / e.type->block_values, 1024, [&](std::int64_t begin, std::int64_t end) {
    dequantise(e.type->type, data + begin * e.type->block_bytes, end - begin, values + begin * e.type->block_values);
  });
  return out;
}

}  // namespace quiver::tensor_io
