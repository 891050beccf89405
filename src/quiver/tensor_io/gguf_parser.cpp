// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/gguf_parser.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/tensor_io/mapped_tensor.h"
#include "quiver/tensor_io/plain_name.h"

namespace quiver::tensor_io {
namespace {

static_assert(std::endian::native == std::endian::little, "values are read as they lie in the file");

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint32_t kMaxDimensions = 8;   // the format has 4 today
constexpr std::int64_t kDefaultAlignment_bytes = 32, kMaxAlignment_bytes = 1 << 20;
/// What an entry (length of the key, type, a byte) and a tensor (length of the name, dimensions, type, offset) take.
constexpr std::uint64_t kLeastEntry_bytes = 13, kLeastTensor_bytes = 24;

enum ValueType : std::uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kText, kList, kU64, kI64, kF64 };

bool is_real(std::uint32_t type) { return type == kF32 || type == kF64; }

/// The least that one value takes; 0 for a type that lists do not hold here.
std::uint64_t least_bytes(std::uint32_t type) {
  constexpr std::uint64_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
  return type <= kF64 ? kBytes[type] : 0;
}

std::uint64_t values_of(const std::vector<std::int64_t>& shape) {
  std::uint64_t values = 1;
  for (const auto extent : shape) values *= static_cast<std::uint64_t>(extent);
  return values;
}

}  // namespace

void GgufParser::check_room(std::uint64_t count, std::uint64_t each_bytes, const char* what) const {
  QUIVER_CHECK(count <= (bytes_.size() - at_) / each_bytes, format, out_.where_,
               "{}: {} of them do not fit in the {} bytes left", what, count, bytes_.size() - at_);
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

std::uint64_t GgufParser::read_count(std::uint64_t each_bytes, const char* what) {
  const auto count = read<std::uint64_t>(what);
  check_room(count, each_bytes, what);
  return count;
}

std::string GgufParser::read_text(const char* what) {
  const auto length = read_count(1, what);
  std::string text(reinterpret_cast<const char*>(bytes_.data()) + at_, length);
  at_ += length;
  return text;
}

std::string GgufParser::read_name(const char* what) {
  const auto begin = at_;
  auto name = read_text(what);
  QUIVER_CHECK(is_plain_name(name), format, out_.where_, "{} at byte {} is not one line of UTF-8 of at most 1000 bytes",
               what, begin);
  return name;
}

std::int64_t GgufParser::read_whole(std::uint32_t type, const std::string& key) {
  constexpr const char* kWhat = "a whole number";
  switch (type) {
    case kU8:
      return read<std::uint8_t>(kWhat);
    case kI8:
      return read<std::int8_t>(kWhat);
    case kU16:
      return read<std::uint16_t>(kWhat);
    case kI16:
      return read<std::int16_t>(kWhat);
    case kU32:
      return read<std::uint32_t>(kWhat);
    case kI32:
      return read<std::int32_t>(kWhat);
    case kBool:
      return read<std::uint8_t>(kWhat) != 0;
    case kI64:
      return read<std::int64_t>(kWhat);
    case kU64: {
      const auto value = read<std::uint64_t>(kWhat);
      constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
      QUIVER_CHECK(value <= kMax, unsupported, out_.where_, "metadata '{}' is {}, read are numbers up to {}", key,
                   value, kMax);
      return static_cast<std::int64_t>(value);
    }
    default:
      fail(ErrorCode::format, out_.where_, "metadata '{}' has value type {}, expected 0 to {}", key, type,
           static_cast<std::uint32_t>(kF64));
  }
}

double GgufParser::read_real(std::uint32_t type) {
  return type == kF32 ? static_cast<double>(read<float>("a number")) : read<double>("a number");
}

GgufValue GgufParser::read_list(const std::string& key) {
  const auto type = read<std::uint32_t>("a list");
  const auto each_bytes = least_bytes(type);
  QUIVER_CHECK(each_bytes > 0, unsupported, out_.where_, "metadata '{}' is a list of value type {}, which is not read",
               key, type);
  const auto count = read_count(each_bytes, "entries of a list");
  const auto collect = [count](auto read_one) {
    std::vector<decltype(read_one())> out;
    out.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) out.push_back(read_one());
    return out;
  };
  if (type == kText) return collect([&] { return read_text("a text of a list"); });
  if (is_real(type)) return collect([&] { return read_real(type); });
  return collect([&] { return read_whole(type, key); });
}

GgufValue GgufParser::read_value(std::uint32_t type, const std::string& key) {
  if (type == kBool) return read<std::uint8_t>("a value") != 0;
  if (type == kText) return read_text("a text");
  if (type == kList) return read_list(key);
  if (is_real(type)) return read_real(type);
  return read_whole(type, key);
}

void GgufParser::read_entry() {
  const auto key = read_name("a metadata key");
  const auto type = read<std::uint32_t>("a value's type");
  const bool added = out_.metadata_.emplace(key, read_value(type, key)).second;
  QUIVER_CHECK(added, format, out_.where_, "metadata '{}' stands twice", key);
}

std::vector<std::int64_t> GgufParser::read_shape(const std::string& name) {
  const auto dimensions = read<std::uint32_t>("a tensor's dimensions");
  QUIVER_CHECK(dimensions <= kMaxDimensions, format, out_.where_, "tensor '{}' has {} dimensions, expected at most {}",
               name, dimensions, kMaxDimensions);
  std::vector<std::int64_t> shape;
  std::uint64_t bound = sizeof(double);  // no value takes more
  for (std::uint32_t i = 0; i < dimensions; ++i) {
    const auto extent = read<std::uint64_t>("a tensor's shape");
    QUIVER_CHECK(multiply_extent(bound, extent), format, out_.where_,
                 "tensor '{}': extent {} makes it larger than any memory", name, extent);
    shape.push_back(static_cast<std::int64_t>(extent));
  }
  std::reverse(shape.begin(), shape.end());
  return shape;
}

const GgufTypeInfo& GgufParser::read_type(const std::string& name) {
  const auto code = read<std::uint32_t>("a tensor's type");
  const auto* type = gguf_type_info(code);
  QUIVER_CHECK(type, unsupported, out_.where_, "tensor '{}' has type {}; read are {}", name, gguf_type_name(code),
               gguf_type_names());
  return *type;
}

void GgufParser::read_tensor() {
  const auto name = read_name("a tensor's name");
  QUIVER_CHECK(!out_.infos_.contains(name), format, out_.where_, "tensor '{}' stands twice", name);
  TensorInfo info;
  info.shape = read_shape(name);
  const auto& type = read_type(name);
  const auto row = info.shape.empty() ? 1 : static_cast<std::uint64_t>(info.shape.back());
  QUIVER_CHECK(row % type.block_values == 0, format, out_.where_,
               "tensor '{}' has rows of {} values, type {} needs a multiple of {}", name, row, type.name,
               type.block_values);
  info.stored_dtype = type.name;
  info.bytes = values_of(info.shape) / type.block_values * type.block_bytes;
  out_.entries_[name] = {&type, read<std::uint64_t>("a tensor's offset"), nullptr};
  out_.infos_[name] = std::move(info);
}

std::uint64_t GgufParser::alignment() const {
  const auto value = out_.find_integer("general.alignment").value_or(kDefaultAlignment_bytes);
  QUIVER_CHECK(value >= 1 && value <= kMaxAlignment_bytes && (value & (value - 1)) == 0, format, out_.where_,
               "general.alignment is {}, expected a power of two up to {}", value, kMaxAlignment_bytes);
  return static_cast<std::uint64_t>(value);
}

void GgufParser::place_tensors() {
  const auto step = alignment();
  const std::uint64_t data_begin = (at_ + step - 1) / step * step;
  const std::uint64_t room = bytes_.size() >= data_begin ? bytes_.size() - data_begin : 0;
  std::vector<std::pair<std::uint64_t, std::string>> order;
  for (const auto& [name, entry] : out_.entries_) {
    const auto begin = entry.begin, bytes = out_.infos_[name].bytes;
    QUIVER_CHECK(begin <= room && bytes <= room - begin, format, out_.where_,
                 "tensor '{}' spans [{}, +{}), the file has {} bytes of data", name, begin, bytes, room);
    QUIVER_CHECK(begin % step == 0, format, out_.where_, "tensor '{}' begins at {}, expected a multiple of {}", name,
                 begin, step);
    if (bytes) order.emplace_back(begin, name);
  }
  std::sort(order.begin(), order.end());
  for (std::size_t i = 1; i < order.size(); ++i) {
    const auto& [before, first] = order[i - 1];
    const auto& [begin, second] = order[i];
    QUIVER_CHECK(begin - before >= out_.infos_[first].bytes, format, out_.where_, "tensors '{}' and '{}' overlap",
                 first, second);
  }
  for (auto& [name, entry] : out_.entries_) entry.begin += data_begin;
}

void GgufParser::read_version() {
  QUIVER_CHECK(read<std::uint32_t>("the magic number") == kMagic, format, out_.where_, "does not open with 'GGUF'");
  const auto version = read<std::uint32_t>("the version");
  QUIVER_CHECK(version == 0 || (version & 0xFFFF) != 0, unsupported, out_.where_,
               "a big-endian GGUF file; read are little-endian ones");
  QUIVER_CHECK(version == 2 || version == 3, unsupported, out_.where_, "GGUF version {}, expected 2 or 3", version);
}

void GgufParser::parse() {
  read_version();
  const auto tensors = read_count(kLeastTensor_bytes, "tensors");
  const auto entries = read_count(kLeastEntry_bytes, "metadata entries");
  for (std::uint64_t i = 0; i < entries; ++i) read_entry();
  check_room(tensors, kLeastTensor_bytes, "tensors");
  for (std::uint64_t i = 0; i < tensors; ++i) read_tensor();
  place_tensors();
}

}  // namespace quiver::tensor_io
