// SPDX-License-Identifier: Apache-2.0
// Reading one protocol buffers message (https://protobuf.dev/programming-guides/encoding/), field by field.
//
// Each field is a key (a varint: number * 8 + wire type) and a value: a varint (0), 8 bytes (1), a length and that many
// bytes (2: strings, messages), or 4 bytes (5). Bytes are untrusted: every read is checked against the message's end,
// and what does not fit is Error{format} with the offset. Groups (wire types 3 and 4) are refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace quiver::text {

class ProtobufReader {
 public:
  /// `message` must outlive the reader and the views it gives; `where` names it in messages.
  ProtobufReader(std::string_view message, std::string where) : message_(message), where_(std::move(where)) {}

  /// Moves to the next field; false at the message's end.
  bool next();
  std::uint64_t field() const { return field_; }

  // The value of the field at hand; Error{format} where it has another wire type.
  std::uint64_t varint() const;
  bool boolean() const { return varint() != 0; }
  float float32() const;
  std::string_view bytes() const;

 private:
  enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

  std::uint64_t read_varint();
  std::string_view read_bytes(std::uint64_t count);
  void expect(Wire wire) const;

  std::string_view message_;
  std::string where_;
  std::size_t at_ = 0;
  std::uint64_t field_ = 0, number_ = 0;
  std::string_view bytes_;
  Wire wire_ = Wire::varint;
};

}  // namespace quiver::text
