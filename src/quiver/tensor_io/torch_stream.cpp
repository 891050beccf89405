// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/torch_stream.h"

#include <ATen/ops/empty.h>

#include <cstring>
#include <map>

#include "quiver/base/error.h"
#include "quiver/tensor_io/mapped_tensor.h"

namespace quiver::tensor_io {
namespace {

using Kind = PickleValue::Kind;
using namespace std::string_view_literals;

constexpr auto kMagic =
    "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."sv;  // after the opcode and number of the protocol
constexpr std::size_t kMagicBegin = 2;
constexpr std::int64_t kVersion = 1001;

struct Storage {
  at::ScalarType dtype;
  std::int64_t elements;
  std::uint64_t begin = 0;  ///< of its bytes in the file; 0 until they are found
};
using Storages = std::map<std::string, Storage>;

class Stream {
 public:
  Stream(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  Pickle next(const StorageLookup& storages) {
    std::size_t taken = 0;
    auto out = parse_first_pickle(bytes_.subspan(at_), storages, where_, taken);
    at_ += taken;
    return out;
  }
  Pickle next_without_storages() {
    return next([&](const std::string& key, at::ScalarType, std::int64_t) -> at::Tensor {
      fail(ErrorCode::format, where_, "storage '{}' outside of the value", key);
    });
  }
  /// The place of a storage's bytes; moves behind them.
  std::uint64_t take_storage(const std::string& key, const Storage& storage) {
    std::int64_t elements = 0;
    QUIVER_CHECK(bytes_.size() - at_ >= sizeof elements, format, where_, "the file ends before storage '{}'", key);
    std::memcpy(&elements, bytes_.data() + at_, sizeof elements);
    QUIVER_CHECK(elements == storage.elements, format, where_, "storage '{}' has {} elements, the pickle claims {}",
                 key, elements, storage.elements);
    at_ += sizeof elements;
    auto size = static_cast<std::uint64_t>(c10::elementSize(storage.dtype));
    const bool counts = multiply_extent(size, static_cast<std::uint64_t>(elements));
    size = elements == 0 ? 0 : size;
    QUIVER_CHECK(counts && size <= bytes_.size() - at_, format, where_, "the file ends within storage '{}'", key);
    const auto begin = at_;
    at_ += size;
    return begin;
  }
  std::size_t at() const { return at_; }
  void move_to(std::size_t at) { at_ = at; }
  std::size_t left() const { return bytes_.size() - at_; }

 private:
  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::size_t at_ = 0;
};

void check_machine(Stream& stream, const std::string& where) {
  const auto version = stream.next_without_storages();
  QUIVER_CHECK(version.root->kind == Kind::integer && version.root->integer == kVersion, unsupported, where,
               "not version {} of torch.save's older format", kVersion);
  const auto machine = stream.next_without_storages();
  const auto* little = machine.root->find("little_endian");
  QUIVER_CHECK(little != nullptr && little->kind == Kind::boolean && little->integer == 1, unsupported, where,
               "written on a machine that is not little-endian");
}

/// What the value says of its storages, without their bytes, which follow it.
Storages claimed_storages(Stream& stream, const std::string& where) {
  Storages out;
  stream.next([&](const std::string& key, at::ScalarType dtype, std::int64_t elements) {
    QUIVER_CHECK(static_cast<std::uint64_t>(elements) <= stream.left(), format, where,
                 "storage '{}' of {} elements is larger than the file", key, elements);
    out.insert({key, {dtype, elements}});
    return at::empty({elements}, at::TensorOptions().dtype(dtype).device(at::kMeta));
  });
  return out;
}

void find_bytes(Stream& stream, Storages& storages, const std::string& where) {
  const auto keys = stream.next_without_storages();
  QUIVER_CHECK(keys.root->kind == Kind::list && keys.root->items.size() == storages.size(), format, where,
               "the list of storages does not name the {} that the value has", storages.size());
  for (const auto* key : keys.root->items) {
    const auto found = key->kind == Kind::text ? storages.find(key->text) : storages.end();
    QUIVER_CHECK(found != storages.end() && found->second.begin == 0, format, where,
                 "the list of storages holds one that the value has not, or twice");
    found->second.begin = stream.take_storage(found->first, found->second);
  }
  QUIVER_CHECK(stream.left() == 0, format, where, "{} bytes follow the last storage", stream.left());
}

}  // namespace

bool is_torch_stream(std::span<const std::byte> bytes) {
  return bytes.size() >= kMagicBegin + kMagic.size() && bytes[0] == std::byte{0x80} &&
         std::memcmp(bytes.data() + kMagicBegin, kMagic.data(), kMagic.size()) == 0;
}

Pickle read_torch_stream(const std::shared_ptr<const MappedFile>& file, const std::string& where) {
  Stream stream(file->bytes(), where);
  stream.move_to(kMagicBegin + kMagic.size());
  check_machine(stream, where);
  const auto value = stream.at();
  auto storages = claimed_storages(stream, where);
  find_bytes(stream, storages, where);
  stream.move_to(value);
  return stream.next([&](const std::string& key, at::ScalarType dtype, std::int64_t elements) {
    return mapped_tensor(file, storages.at(key).begin, {elements}, dtype);
  });
}

}  // namespace quiver::tensor_io
