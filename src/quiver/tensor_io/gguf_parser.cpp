// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/gguf_parser.h"

#include <cstring>

#include "quiver/base/error.h"

namespace quiver::tensor_io {
namespace {

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint64_t kMaxValues = std::uint64_t{1} << 48;
enum ValueType : std::uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kText, kList, kU64, kI64, kF64 };

bool is_whole(std::uint32_t type) { return type <= kI32 || type == kU64 || type == kI64 || type == kBool; }
bool is_real(std::uint32_t type) { return type == kF32 || type == kF64; }

}  // namespace

void GgufParser::check_count(std::uint64_t count, std::uint64_t each_bytes, const char* what) const {
  QUIVER_CHECK(count <= (bytes_.size() - at_) / each_bytes, format, out_.where_,
               "{} {} do not fit in the {} bytes left", count, what, bytes_.size() - at_);
}

template <typename T>
T GgufParser::read(const char* what) {
  QUIVER_CHECK(bytes_.size() - at_ >= sizeof(T), format, out_.where_, "the file ends at byte {} within {}",
               bytes_.size(), what);
  T value{};
  std::memcpy(&value, bytes_.data() + at_, sizeof(T));
  at_ += sizeof(T);
  return value;
}

std::string GgufParser::read_text(const char* what) {
  const auto length = read<std::uint64_t>(what);
  check_count(length, 1, what);
  std::string text(reinterpret_cast<const char*>(bytes_.data()) + at_, length);
  at_ += length;
  return text;
}

std::int64_t GgufParser::read_whole(std::uint32_t type, const std::string& key) {
  switch (type) {
    case kU8:
      return read<std::uint8_t>("a value");
    case kI8:
      return read<std::int8_t>("a value");
    case kU16:
      return read<std::uint16_t>("a value");
    case kI16:
      return read<std::int16_t>("a value");
    case kU32:
      return read<std::uint32_t>("a value");
    case kI32:
      return read<std::int32_t>("a value");
    case kBool:
      return read<std::uint8_t>("a value") != 0;
    case kI64:
      return read<std::int64_t>("a value");
    case kU64: {
      const auto value = read<std::uint64_t>("a value");
      QUIVER_CHECK(value <= static_cast<std::uint64_t>(INT64_MAX), format, out_.where_,
                   "'{}' = {}, larger than any size can be", key, value);
      return static_cast<std::int64_t>(value);
    }
    default:
      fail(ErrorCode::format, out_.where_, "'{}' has value type {}, which GGUF does not have", key, type);
  }
}

double GgufParser::read_real(std::uint32_t type, const std::string&) {
  return type == kF32 ? static_cast<double>(read<float>("a value")) : read<double>("a value");
}

GgufValue GgufParser::read_list(const std::string& key) {
  const auto type = read<std::uint32_t>("a list");
  const auto count = read<std::uint64_t>("a list");
  check_count(count, type == kText ? 8 : 1, "list entries");
  if (type == kText) {
    std::vector<std::string> out;
    for (std::uint64_t i = 0; i < count; ++i) out.push_back(read_text("a list of texts"));
    return out;
  }
  if (is_real(type)) {
    std::vector<double> out;
    for (std::uint64_t i = 0; i < count; ++i) out.push_back(read_real(type, key));
    return out;
  }
  QUIVER_CHECK(is_whole(type), unsupported, out_.where_, "'{}' is a list of value type {}, which is not read", key,
               type);
  std::vector<std::int64_t> out;
  for (std::uint64_t i = 0; i < count; ++i) out.push_back(read_whole(type, key));
  return out;
}

GgufValue GgufParser::read_value(std::uint32_t type, const std::string& key) {
  if (type == kBool) return read<std::uint8_t>("a value") != 0;
  if (type == kText) return read_text("a value");
  if (type == kList) return read_list(key);
  if (is_real(type)) return read_real(type, key);
  return read_whole(type, key);
}

void GgufParser::read_tensor() {
  const auto name = read_text("a tensor's name");
  QUIVER_CHECK(!out_.infos_.contains(name), format, out_.where_, "tensor '{}' stands twice", name);
  const auto dimensions = read<std::uint32_t>("a tensor");
  QUIVER_CHECK(dimensions >= 1 && dimensions <= 8, format, out_.where_,
               "tensor '{}' has {} dimensions, expected 1 to 8", name, dimensions);
  TensorInfo info;
  std::uint64_t values = 1;
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    const auto extent = read<std::uint64_t>("a tensor");
    const bool overflow = __builtin_mul_overflow(values, extent, &values);
    QUIVER_CHECK(!overflow && values <= kMaxValues && extent <= kMaxValues, format, out_.where_,
                 "tensor '{}': its shape has more entries than memory can hold", name);
    info.shape.insert(info.shape.begin(), static_cast<std::int64_t>(extent));
  }
  const auto code = read<std::uint32_t>("a tensor");
  GgufFile::Entry entry;
  entry.type = gguf_type_info(code);
  QUIVER_CHECK(entry.type, unsupported, out_.where_,
               "tensor '{}' has type {}; read are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K", name,
               code);
  QUIVER_CHECK(info.shape.back() % entry.type->block_values == 0, format, out_.where_,
               "tensor '{}' has rows of {} values, type {} needs a multiple of {}", name, info.shape.back(),
               entry.type->name, entry.type->block_values);
  entry.values = static_cast<std::int64_t>(values);
  entry.begin = read<std::uint64_t>("a tensor");
  info.stored_dtype = entry.type->name;
  info.bytes = values / static_cast<std::uint64_t>(entry.type->block_values) *
               static_cast<std::uint64_t>(entry.type->block_bytes);
  out_.infos_[name] = std::move(info);
  out_.entries_[name] = entry;
}

void GgufParser::place_tensors(std::uint64_t data_begin) {
  const std::uint64_t room = bytes_.size() >= data_begin ? bytes_.size() - data_begin : 0;
  for (auto& [name, entry] : out_.entries_) {
    const auto bytes = out_.infos_[name].bytes;
    QUIVER_CHECK(entry.begin <= room && bytes <= room - entry.begin, format, out_.where_,
                 "tensor '{}' spans [{}, +{}) of {} bytes of data", name, entry.begin, bytes, room);
    entry.begin += data_begin;
  }
}

void GgufParser::parse() {
  QUIVER_CHECK(read<std::uint32_t>("the magic number") == kMagic, format, out_.where_, "does not open with 'GGUF'");
  const auto version = read<std::uint32_t>("the version");
  QUIVER_CHECK(version == 2 || version == 3, unsupported, out_.where_, "GGUF version {}, expected 2 or 3", version);
  const auto tensors = read<std::uint64_t>("the number of tensors");
  const auto entries = read<std::uint64_t>("the number of entries");
  check_count(entries, 13, "metadata entries");
  for (std::uint64_t i = 0; i < entries; ++i) {
    const auto key = read_text("a key");
    const auto type = read<std::uint32_t>("a value");
    const bool added = out_.metadata_.emplace(key, read_value(type, key)).second;
    QUIVER_CHECK(added, format, out_.where_, "key '{}' stands twice", key);
  }
  check_count(tensors, 24, "tensors");
  for (std::uint64_t i = 0; i < tensors; ++i) read_tensor();
  const auto alignment = out_.find_integer("general.alignment").value_or(32);
  QUIVER_CHECK(alignment >= 1 && alignment <= 1 << 20, format, out_.where_, "alignment {}, expected 1 to 2^20",
               alignment);
  const auto step = static_cast<std::uint64_t>(alignment);
  place_tensors((at_ + step - 1) / step * step);
}

}  // namespace quiver::tensor_io
