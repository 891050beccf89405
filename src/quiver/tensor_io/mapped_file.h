// SPDX-License-Identifier: Apache-2.0
// A regular file mapped read-only into memory.
//
// The pages stay valid while the object lives, also when the file is renamed over or removed. A process that truncates
// the file in place makes reads of the lost pages fatal (SIGBUS), so files are replaced by renaming, never rewritten.
// Thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "quiver/base/files.h"

namespace quiver::tensor_io {

class MappedFile {
 public:
  /// Throws Error{not_found} where there is no such file, Error{io} where it cannot be read or is no regular file.
  static std::shared_ptr<const MappedFile> open(const fs::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_bytes_}; }

 private:
  MappedFile(const std::byte* data, std::size_t size_bytes) : data_(data), size_bytes_(size_bytes) {}
  const std::byte* data_;
  std::size_t size_bytes_;
};

}  // namespace quiver::tensor_io
