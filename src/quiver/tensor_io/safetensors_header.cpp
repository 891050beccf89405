// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "quiver/base/error.h"

namespace quiver::tensor_io {
namespace {

using nlohmann::json;
constexpr std::uint64_t kMaxHeader_bytes = 100'000'000;
constexpr std::size_t kLengthField_bytes = 8;

struct NamedType {
  const char* name;
  at::ScalarType type;
};
constexpr NamedType kTypes[] = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
    {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool},
};

/// Throws on a key that stands twice in one object.
json parse_without_duplicates(std::string_view text, const std::string& where) {
  std::vector<std::set<std::string>> keys;
  std::string duplicate;
  const auto callback = [&](int, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
      duplicate = value.get<std::string>();
    }
    return true;
  };
  const auto parsed = json::parse(text.begin(), text.end(), callback, false);
  QUIVER_CHECK(parsed.is_object(), format, where, "the header is not a JSON object in UTF-8");
  QUIVER_CHECK(duplicate.empty(), format, where, "the header names '{}' twice", duplicate);
  return parsed;
}

std::uint64_t unsigned_of(const json& value, const std::string& name, const char* what, const std::string& where) {
  QUIVER_CHECK(value.is_number_unsigned(), format, where, "tensor '{}': {} is {}, expected a whole number of 0 or more",
               name, what, value.dump().substr(0, 40));
  return value.get<std::uint64_t>();
}

std::uint64_t times(std::uint64_t a, std::uint64_t b, const std::string& name, const std::string& where) {
  std::uint64_t out = 0;
  const bool overflow = __builtin_mul_overflow(a, b, &out);
  QUIVER_CHECK(!overflow && out <= (std::uint64_t{1} << 62), format, where,
               "tensor '{}': its shape has more entries than memory can hold", name);
  return out;
}

SafetensorsEntry entry_of(const std::string& name, const json& value, std::uint64_t data_begin,
                          const std::string& where) {
  QUIVER_CHECK(value.is_object() && value.size() == 3 && value.contains("dtype") && value.contains("shape") &&
                   value.contains("data_offsets"),
               format, where, "tensor '{}': expected dtype, shape and data_offsets", name);
  SafetensorsEntry entry;
  const auto& dtype = value["dtype"];
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& t) { return dtype == t.name; });
  QUIVER_CHECK(type != std::end(kTypes), unsupported, where, "tensor '{}' has dtype {}, which is not read", name,
               dtype.dump().substr(0, 40));
  entry.dtype = type->type;
  entry.info.stored_dtype = type->name;
  QUIVER_CHECK(value["shape"].is_array() && value["shape"].size() <= 16, format, where,
               "tensor '{}': shape is {}, expected a list", name, value["shape"].dump().substr(0, 80));
  std::uint64_t bytes = c10::elementSize(entry.dtype);
  for (const auto& size : value["shape"]) {
    const auto extent = unsigned_of(size, name, "a shape entry", where);
    bytes = times(bytes, extent, name, where);
    entry.info.shape.push_back(static_cast<std::int64_t>(extent));
  }
  const auto& offsets = value["data_offsets"];
  QUIVER_CHECK(offsets.is_array() && offsets.size() == 2, format, where,
               "tensor '{}': data_offsets is {}, expected [begin, end]", name, offsets.dump().substr(0, 80));
  const auto begin = unsigned_of(offsets[0], name, "its begin", where),
             end = unsigned_of(offsets[1], name, "its end", where);
  QUIVER_CHECK(begin <= end && end - begin == bytes, format, where,
               "tensor '{}' spans [{}, {}), its dtype and shape need {} bytes", name, begin, end, bytes);
  entry.info.bytes = bytes;
  QUIVER_CHECK(begin <= (std::uint64_t{1} << 62), format, where, "tensor '{}' begins at {}, beyond any file", name,
               begin);
  entry.begin = data_begin + begin;
  return entry;
}

/// The tensors cover [begin, end) without hole or overlap.
void check_tiling(const SafetensorsHeader& header, std::uint64_t begin, std::uint64_t end, const std::string& where) {
  std::vector<std::pair<std::uint64_t, const std::pair<const std::string, SafetensorsEntry>*>> order;
  for (const auto& entry : header.entries) order.emplace_back(entry.second.begin, &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second->second.info.bytes) < std::pair(b.first, b.second->second.info.bytes);
  });
  std::uint64_t next = begin;
  for (const auto& [at, entry] : order) {
    QUIVER_CHECK(at == next, format, where, "tensor '{}' begins at byte {}, expected {}: {}", entry->first, at, next,
                 at < next ? "tensors overlap" : "there is a hole before it");
    next += entry->second.info.bytes;
  }
  QUIVER_CHECK(next == end, format, where, "the tensors end at byte {}, the file at {}", next, end);
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> file, const std::string& where) {
  QUIVER_CHECK(file.size() >= kLengthField_bytes, format, where, "{} bytes, too short for a safetensors file",
               file.size());
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthField_bytes);
  QUIVER_CHECK(length <= kMaxHeader_bytes && length <= file.size() - kLengthField_bytes, format, where,
               "the header claims {} bytes, the file has {} (and the limit is {})", length, file.size(),
               kMaxHeader_bytes);
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthField_bytes, length);
  QUIVER_CHECK(text.starts_with('{'), format, where, "the header does not open with '{{'");
  const auto parsed = parse_without_duplicates(text, where);
  SafetensorsHeader header;
  for (const auto& [name, value] : parsed.items()) {
    if (name != "__metadata__") {
      header.entries[name] = entry_of(name, value, kLengthField_bytes + length, where);
      continue;
    }
    QUIVER_CHECK(value.is_object(), format, where, "__metadata__ is {}, expected an object",
                 value.dump().substr(0, 40));
    for (const auto& [key, text_value] : value.items()) {
      QUIVER_CHECK(text_value.is_string(), format, where, "__metadata__ '{}' is {}, expected text", key,
                   text_value.dump().substr(0, 40));
      header.metadata[key] = text_value.get<std::string>();
    }
  }
  check_tiling(header, kLengthField_bytes + length, file.size(), where);
  return header;
}

std::string safetensors_dtype(at::ScalarType dtype) {
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const auto& t) { return t.type == dtype; });
  QUIVER_CHECK(type != std::end(kTypes), unsupported, "safetensors", "a tensor of type {} cannot be stored",
               c10::toString(dtype));
  return type->name;
}

}  // namespace quiver::tensor_io
