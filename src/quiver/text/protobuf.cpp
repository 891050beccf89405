// SPDX-License-Identifier: Apache-2.0
#include "quiver/text/protobuf.h"

#include <bit>

#include "quiver/base/error.h"

namespace quiver::text {

bool ProtobufReader::next() {
  if (at_ == message_.size()) return false;
  const auto begin = at_;
  const auto key = read_varint();
  field_ = key >> 3;
  QUIVER_CHECK(field_ > 0, format, where_, "field number 0 at byte {}", begin);
  wire_ = static_cast<Wire>(key & 7);
  switch (wire_) {
    case Wire::varint:
      number_ = read_varint();
      return true;
    case Wire::fixed64:
      bytes_ = read_bytes(8);
      return true;
    case Wire::bytes:
      bytes_ = read_bytes(read_varint());
      return true;
    case Wire::fixed32:
      bytes_ = read_bytes(4);
      return true;
  }
  fail(ErrorCode::format, where_, "wire type {} at byte {}", key & 7, begin);
}

std::uint64_t ProtobufReader::read_varint() {
  const auto begin = at_;
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && at_ < message_.size(); shift += 7) {
    const auto byte = static_cast<unsigned char>(message_[at_++]);
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  fail(ErrorCode::format, where_, "no whole varint at byte {}", begin);
}

std::string_view ProtobufReader::read_bytes(std::uint64_t count) {
  QUIVER_CHECK(count <= message_.size() - at_, format, where_, "{} bytes expected at byte {}, {} left", count, at_,
               message_.size() - at_);
  const auto value = message_.substr(at_, count);
  at_ += count;
  return value;
}

void ProtobufReader::expect(Wire wire) const {
  QUIVER_CHECK(wire_ == wire, format, where_, "field {}: expected wire type {}, found {}", field_,
               static_cast<int>(wire), static_cast<int>(wire_));
}

std::uint64_t ProtobufReader::varint() const {
  expect(Wire::varint);
  return number_;
}

float ProtobufReader::float32() const {
  expect(Wire::fixed32);
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < 4; ++i) bits |= std::uint32_t{static_cast<unsigned char>(bytes_[i])} << (8 * i);
  return std::bit_cast<float>(bits);
}

std::string_view ProtobufReader::bytes() const {
  expect(Wire::bytes);
  return bytes_;
}

}  // namespace quiver::text
