// SPDX-License-Identifier: Apache-2.0
// A regular file mapped read-only into memory. The pages stay valid while the object lives; another process that
// truncates the file would make reads fail, so files are replaced by renaming, never rewritten.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "quiver/base/files.h"

namespace quiver::tensor_io {

class MappedFile {
 public:
  /// Throws Error{not_found|io}.
  static std::shared_ptr<const MappedFile> open(const fs::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, std::size_t size) : data_(data), size_(size) {}
  const std::byte* data_;
  std::size_t size_;
};

}  // namespace quiver::tensor_io
