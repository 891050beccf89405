// SPDX-License-Identifier: Apache-2.0
// Reads the head of a GGUF file, which is hostile until checked, into a GgufFile. Used by GgufFile::open alone.
#pragma once

#include "quiver/tensor_io/gguf.h"

namespace quiver::tensor_io {

class GgufParser {
 public:
  explicit GgufParser(GgufFile& out) : out_(out), bytes_(out.file_->bytes()) {}
  void parse();

 private:
  template <typename T>
  T read(const char* what);
  std::string read_text(const char* what);
  /// A key or a tensor's name: one line of UTF-8.
  std::string read_name(const char* what);
  /// A count, refused unless that many things of at least `each_bytes` fit in what is left.
  std::uint64_t read_count(std::uint64_t each_bytes, const char* what);
  void check_room(std::uint64_t count, std::uint64_t each_bytes, const char* what) const;

  void read_version();
  void read_entry();
  GgufValue read_value(std::uint32_t type, const std::string& key);
  GgufValue read_list(const std::string& key);
  std::int64_t read_whole(std::uint32_t type, const std::string& key);
  double read_real(std::uint32_t type);

  void read_tensor();
  std::vector<std::int64_t> read_shape(const std::string& name);
  const GgufTypeInfo& read_type(const std::string& name);
  std::uint64_t alignment() const;
  void place_tensors();

  GgufFile& out_;
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

}  // namespace quiver::tensor_io
