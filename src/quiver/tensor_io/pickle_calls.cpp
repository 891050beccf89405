// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/pickle_calls.h"

#include <ATen/ops/as_strided.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/tensor_io/mapped_tensor.h"
#include "quiver/tensor_io/strict_json.h"

namespace quiver::tensor_io {
namespace {

using Kind = PickleValue::Kind;
using Items = std::vector<const PickleValue*>;
constexpr std::size_t kMaxDimensions = 64;  // of torch

struct NamedStorage {
  const char* name;
  at::ScalarType dtype;
};
constexpr NamedStorage kStorages[] = {
    {"torch.FloatStorage", at::kFloat},   {"torch.HalfStorage", at::kHalf}, {"torch.BFloat16Storage", at::kBFloat16},
    {"torch.DoubleStorage", at::kDouble}, {"torch.LongStorage", at::kLong}, {"torch.IntStorage", at::kInt},
    {"torch.ShortStorage", at::kShort},   {"torch.CharStorage", at::kChar}, {"torch.ByteStorage", at::kByte},
    {"torch.BoolStorage", at::kBool},
};

constexpr const char* kDtypes[] = {
    "torch.float32", "torch.float", "torch.float16", "torch.half",  "torch.bfloat16",      "torch.float64",
    "torch.double",  "torch.int64", "torch.long",    "torch.int32", "torch.int",           "torch.int16",
    "torch.short",   "torch.int8",  "torch.uint8",   "torch.bool",  "torch.float8_e4m3fn", "torch.float8_e5m2"};

void check_arguments(bool sound, const std::string& name, const std::string& where) {
  QUIVER_CHECK(sound, format, where, "'{}' is called with other arguments than torch.save gives it", name);
}

std::vector<std::int64_t> integers(const PickleValue& value, const std::string& name, const std::string& where) {
  check_arguments(value.kind == Kind::tuple && value.items.size() <= kMaxDimensions, name, where);
  std::vector<std::int64_t> out;
  for (const auto* item : value.items) {
    check_arguments(item->kind == Kind::integer && item->integer >= 0, name, where);
    out.push_back(item->integer);
  }
  return out;
}

/// The index of the last element, counted from the storage's begin, lies in the storage; and the tensor has no more
/// elements than it, so that strides of 0 cannot make a large tensor out of a small file.
void check_extent(const PickleValue& storage, std::int64_t offset, const std::vector<std::int64_t>& sizes,
                  const std::vector<std::int64_t>& strides, const std::string& where) {
  const auto available = storage.tensor.numel();
  std::int64_t last = offset;
  std::uint64_t count = 1;
  bool fits = true;
  for (std::size_t d = 0; d < sizes.size() && fits; ++d) {
    std::int64_t step = 0;
    fits = !__builtin_mul_overflow(sizes[d] - 1, strides[d], &step) && !__builtin_add_overflow(last, step, &last) &&
           multiply_extent(count, static_cast<std::uint64_t>(sizes[d]));
  }
  QUIVER_CHECK(fits && last < available && count <= static_cast<std::uint64_t>(available), format, where,
               "a tensor reaches beyond its storage of {} elements", available);
}

void rebuild_tensor(const Items& a, PickleValue& result, const std::string& name, const std::string& where) {
  check_arguments((a.size() == 6 || a.size() == 7) && a[0]->kind == Kind::storage && a[1]->kind == Kind::integer &&
                      a[1]->integer >= 0 && a[5]->kind == Kind::dictionary && a[5]->items.empty(),
                  name, where);
  const auto sizes = integers(*a[2], name, where), strides = integers(*a[3], name, where);
  check_arguments(sizes.size() == strides.size(), name, where);
  result.kind = Kind::tensor;
  if (std::find(sizes.begin(), sizes.end(), 0) != sizes.end()) {
    std::uint64_t bound = 16;  // bytes of the largest element
    for (const auto size : sizes) {
      QUIVER_CHECK(multiply_extent(bound, static_cast<std::uint64_t>(size)), format, where,
                   "a tensor's shape is larger than any memory");
    }
    result.tensor = at::empty(sizes, a[0]->tensor.options());
    return;
  }
  check_extent(*a[0], a[1]->integer, sizes, strides, where);
  result.tensor = at::as_strided(a[0]->tensor, sizes, strides, a[1]->integer);
}

/// The bytes of text whose code points are those bytes.
std::string latin1_of(const std::string& text, const std::string& name, const std::string& where) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x80) {
      check_arguments(byte <= 0xC3 && i + 1 < text.size(), name, where);
      byte = static_cast<unsigned char>((byte & 0x03) << 6 | (static_cast<unsigned char>(text[++i]) & 0x3F));
    }
    out += static_cast<char>(byte);
  }
  return out;
}

void make_set(const Items& a, PickleValue& result, const std::string& name, const std::string& where) {
  check_arguments(a.size() == 1 && (a[0]->kind == Kind::list || a[0]->kind == Kind::tuple), name, where);
  result.kind = Kind::set;
  result.items = a[0]->items;
}

void make_bytes(const Items& a, PickleValue& result, const std::string& name, const std::string& where) {
  result.kind = Kind::bytes;
  if (name != "_codecs.encode") return check_arguments(a.empty(), name, where);
  check_arguments(a.size() == 2 && a[0]->kind == Kind::text && a[1]->kind == Kind::text && a[1]->text == "latin1", name,
                  where);
  result.text = latin1_of(a[0]->text, name, where);
}

void make_dictionary(const Items& a, PickleValue& result, const std::string& name, const std::string& where) {
  check_arguments(a.empty(), name, where);
  result.kind = Kind::dictionary;
}

void make_size(const Items& a, PickleValue& result, const std::string& name, const std::string& where) {
  check_arguments(a.size() == 1 && a[0]->kind == Kind::tuple, name, where);
  result = *a[0];
}

void rebuild_parameter(const Items& a, PickleValue& result, const std::string& name, const std::string& where) {
  check_arguments(a.size() == 3 && a[0]->kind == Kind::tensor && a[2]->kind == Kind::dictionary && a[2]->items.empty(),
                  name, where);
  result = *a[0];
}

struct Call {
  const char* name;
  void (*make)(const Items&, PickleValue&, const std::string& name, const std::string& where);
};
constexpr Call kCalls[] = {{"collections.OrderedDict", make_dictionary},
                           {"__builtin__.set", make_set},
                           {"builtins.set", make_set},
                           {"__builtin__.frozenset", make_set},
                           {"builtins.frozenset", make_set},
                           {"__builtin__.bytes", make_bytes},
                           {"builtins.bytes", make_bytes},
                           {"_codecs.encode", make_bytes},
                           {"torch.Size", make_size},
                           {"torch._utils._rebuild_tensor_v2", rebuild_tensor},
                           {"torch._utils._rebuild_parameter", rebuild_parameter}};

const Call* call_of(const std::string& name) {
  const auto* found = std::find_if(std::begin(kCalls), std::end(kCalls), [&](const auto& c) { return name == c.name; });
  return found == std::end(kCalls) ? nullptr : found;
}

}  // namespace

bool is_plain_class(const std::string& name) { return name.starts_with("mttl."); }

std::optional<at::ScalarType> storage_dtype(const std::string& name) {
  for (const auto& storage : kStorages) {
    if (name == storage.name) return storage.dtype;
  }
  return std::nullopt;
}

void check_pickle_name(const std::string& name, const std::string& where) {
  const bool dtype = std::find(std::begin(kDtypes), std::end(kDtypes), name) != std::end(kDtypes);
  QUIVER_CHECK(dtype || is_plain_class(name) || call_of(name) || storage_dtype(name), unsupported, where,
               "the pickle names {}, and unpickling it would run that code; tensors, plain values and objects of "
               "'mttl.' are read",
               excerpt(name));
}

void call_by_name(const std::string& name, const PickleValue& arguments, PickleValue& result,
                  const std::string& where) {
  check_arguments(arguments.kind == Kind::tuple, name, where);
  if (const auto* call = call_of(name)) return call->make(arguments.items, result, name, where);
  QUIVER_CHECK(is_plain_class(name), unsupported, where, "the pickle calls {}, which is no function that is read",
               excerpt(name));
  result.kind = Kind::object;
  result.text = name;
  if (!arguments.items.empty()) result.items = {&arguments};
}

}  // namespace quiver::tensor_io
