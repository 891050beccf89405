// SPDX-License-Identifier: Apache-2.0
// The zip files of torch.save: every entry stored, none compressed.
//
// Reading goes by the central directory, which must stand between the last entry and the end record at the very end of
// the file; entries must lie within the file, not overlap, agree with the name in their local header, and be what their
// checksum says. Zip64 records may be there, but sizes and counts that need them (4 GiB, 65,535 entries) are refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quiver/base/files.h"

namespace quiver::tensor_io {

struct ZipEntry {
  std::uint64_t begin = 0;  ///< of its bytes in the file
  std::uint64_t size_bytes = 0;
  std::uint32_t checksum = 0;
};

/// By name. Throws Error{format|unsupported}.
std::map<std::string, ZipEntry> parse_stored_zip(std::span<const std::byte> file, const std::string& where);

/// CRC-32 as zip has it (polynomial 0xEDB88320).
std::uint32_t crc32(std::span<const std::byte> bytes);

/// Writes entries one after another, each one's bytes at a multiple of 64.
class StoredZipWriter {
 public:
  explicit StoredZipWriter(const fs::path& file);
  void add(const std::string& name, std::span<const std::byte> bytes);
  void add(const std::string& name, std::string_view text) { add(name, std::as_bytes(std::span(text))); }
  /// Writes the central directory. Throws Error{io} where anything could not be written.
  void finish();

 private:
  void write(std::string_view bytes);

  std::string where_;
  std::ofstream stream_;
  std::uint64_t at_ = 0;
  std::string directory_;
  std::uint32_t entries_ = 0;
};

}  // namespace quiver::tensor_io
