// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/tensor_io/mapped_tensor.h"
#include "quiver/tensor_io/plain_name.h"
#include "quiver/tensor_io/strict_json.h"

namespace quiver::tensor_io {
namespace {

using nlohmann::json;
constexpr std::size_t kLengthField_bytes = 8;
constexpr std::size_t kMaxDimensions = 64;  // of torch

struct NamedType {
  const char* name;
  at::ScalarType dtype;
};
/// In the layout order of the reference writer, safetensors 0.8 (alignment, largest first). Types below a byte, and
/// F8_E8M0, which LibTorch 2.6 lacks, are not read.
constexpr NamedType kTypes[] = {
    {"U64", at::kUInt64},
    {"I64", at::kLong},
    {"F64", at::kDouble},
    {"C64", at::kComplexFloat},
    {"F32", at::kFloat},
    {"U32", at::kUInt32},
    {"I32", at::kInt},
    {"BF16", at::kBFloat16},
    {"F16", at::kHalf},
    {"U16", at::kUInt16},
    {"I16", at::kShort},
    {"F8_E5M2FNUZ", at::kFloat8_e5m2fnuz},
    {"F8_E4M3FNUZ", at::kFloat8_e4m3fnuz},
    {"F8_E4M3", at::kFloat8_e4m3fn},
    {"F8_E5M2", at::kFloat8_e5m2},
    {"I8", at::kChar},
    {"U8", at::kByte},
    {"BOOL", at::kBool},
};

std::uint64_t unsigned_of(const json& value, const std::string& name, const char* what, const std::string& where) {
  QUIVER_CHECK(value.is_number_unsigned(), format, where, "tensor '{}': {} is {}, expected a whole number of 0 or more",
               name, what, excerpt(value));
  return value.get<std::uint64_t>();
}

void read_dtype(SafetensorsEntry& entry, const json& value, const std::string& name, const std::string& where) {
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& t) { return value == t.name; });
  QUIVER_CHECK(type != std::end(kTypes), unsupported, where, "tensor '{}' has dtype {}, which is not read", name,
               excerpt(value));
  entry.dtype = type->dtype;
  entry.info.stored_dtype = type->name;
}

/// Sets shape and bytes; the type is known already.
void read_shape(SafetensorsEntry& entry, const json& value, const std::string& name, const std::string& where) {
  QUIVER_CHECK(value.is_array() && value.size() <= kMaxDimensions, format, where,
               "tensor '{}': shape is {}, expected a list of at most {} sizes", name, excerpt(value), kMaxDimensions);
  std::uint64_t bound = c10::elementSize(entry.dtype);
  entry.info.bytes = bound;
  for (const auto& size : value) {
    const auto extent = unsigned_of(size, name, "a size of its shape", where);
    QUIVER_CHECK(multiply_extent(bound, extent), format, where,
                 "tensor '{}': a tensor of shape {} is larger than any memory", name, excerpt(value));
    entry.info.bytes *= extent;
    entry.info.shape.push_back(static_cast<std::int64_t>(extent));
  }
}

/// Sets `begin`, relative to the data.
void read_offsets(SafetensorsEntry& entry, const json& value, const std::string& name, const std::string& where) {
  QUIVER_CHECK(value.is_array() && value.size() == 2, format, where,
               "tensor '{}': data_offsets is {}, expected [begin, end]", name, excerpt(value));
  entry.begin = unsigned_of(value[0], name, "its begin", where);
  const auto end = unsigned_of(value[1], name, "its end", where);
  QUIVER_CHECK(entry.begin <= end && end - entry.begin == entry.info.bytes, format, where,
               "tensor '{}' spans [{}, {}), its dtype and shape need {} bytes", name, entry.begin, end,
               entry.info.bytes);
}

SafetensorsEntry entry_of(const std::string& name, const json& value, const std::string& where) {
  QUIVER_CHECK(is_plain_name(name), format, where, "{} cannot name a tensor", excerpt(name));
  QUIVER_CHECK(value.is_object() && value.size() == 3 && value.contains("dtype") && value.contains("shape") &&
                   value.contains("data_offsets"),
               format, where, "tensor '{}' is {}, expected dtype, shape and data_offsets", name, excerpt(value));
  SafetensorsEntry entry;
  read_dtype(entry, value["dtype"], name, where);
  read_shape(entry, value["shape"], name, where);
  read_offsets(entry, value["data_offsets"], name, where);
  return entry;
}

std::map<std::string, std::string> metadata_of(const json& value, const std::string& where) {
  QUIVER_CHECK(value.is_object(), format, where, "__metadata__ is {}, expected an object", excerpt(value));
  std::map<std::string, std::string> out;
  for (const auto& [key, text] : value.items()) {
    QUIVER_CHECK(text.is_string(), format, where, "__metadata__ {} is {}, expected text", excerpt(key), excerpt(text));
    out[key] = text.get<std::string>();
  }
  return out;
}

/// The tensors cover [0, size) without hole or overlap; empty ones lie on a border.
void check_tiling(const SafetensorsHeader& header, std::uint64_t size, const std::string& where) {
  std::vector<const std::pair<const std::string, SafetensorsEntry>*> order;
  for (const auto& entry : header.entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.info.bytes) < std::pair(b->second.begin, b->second.info.bytes);
  });
  std::uint64_t next = 0;
  for (const auto* entry : order) {
    const auto begin = entry->second.begin;
    QUIVER_CHECK(begin == next, format, where, "tensor '{}' begins at byte {} of the data, expected {}: {}",
                 entry->first, begin, next, begin < next ? "it overlaps another" : "there is a hole before it");
    QUIVER_CHECK(entry->second.info.bytes <= size - next, format, where,
                 "tensor '{}' spans [{}, +{}), the file has {} bytes of data", entry->first, begin,
                 entry->second.info.bytes, size);
    next += entry->second.info.bytes;
  }
  QUIVER_CHECK(next == size, format, where, "the tensors take {} bytes, the file has {} bytes of data", next, size);
}

std::string_view header_text(std::span<const std::byte> file, const std::string& where) {
  QUIVER_CHECK(file.size() >= kLengthField_bytes, format, where, "{} bytes, too short for a safetensors file",
               file.size());
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthField_bytes);
  QUIVER_CHECK(length <= kMaxSafetensorsHeader_bytes, format, where, "the header claims {} bytes, the limit is {}",
               length, kMaxSafetensorsHeader_bytes);
  QUIVER_CHECK(length <= file.size() - kLengthField_bytes, format, where,
               "the header claims {} bytes, the file has {} after its length", length,
               file.size() - kLengthField_bytes);
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthField_bytes, length);
  QUIVER_CHECK(text.starts_with('{'), format, where, "the header does not open with '{{'");
  return text;
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& where) {
  const auto text = header_text(file, where);
  const auto parsed = parse_strict_json(text, {.depth = 3, .list_entries = kMaxDimensions}, where);
  const std::uint64_t data_begin = kLengthField_bytes + text.size();
  SafetensorsHeader header;
  for (const auto& [name, value] : parsed.items()) {
    if (name == kSafetensorsMetadataKey) {
      header.metadata = metadata_of(value, where);
    } else {
      header.entries[name] = entry_of(name, value, where);
    }
  }
  check_tiling(header, file.size() - data_begin, where);
  for (auto& [name, entry] : header.entries) entry.begin += data_begin;
  return header;
}

std::optional<SafetensorsDtype> safetensors_dtype(at::ScalarType dtype) {
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& t) { return t.dtype == dtype; });
  if (type == std::end(kTypes)) return std::nullopt;
  return SafetensorsDtype{type->name, dtype, static_cast<int>(type - std::begin(kTypes))};
}

}  // namespace quiver::tensor_io
