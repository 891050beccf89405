// SPDX-License-Identifier: Apache-2.0
// Reads the head of a GGUF file into a GgufFile.
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
  GgufValue read_value(std::uint32_t type, const std::string& key);
  GgufValue read_list(const std::string& key);
  std::int64_t read_whole(std::uint32_t type, const std::string& key);
  double read_real(std::uint32_t type, const std::string& key);
  void read_tensor();
  void place_tensors(std::uint64_t data_begin);
  /// `count` things of at least `each_bytes` must fit in what is left.
  void check_count(std::uint64_t count, std::uint64_t each_bytes, const char* what) const;

  GgufFile& out_;
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
};

}  // namespace quiver::tensor_io
