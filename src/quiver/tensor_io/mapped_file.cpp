// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "quiver/base/error.h"

namespace quiver::tensor_io {
namespace {

/// Closes its descriptor; the mapping outlives it.
struct Descriptor {
  int value;
  ~Descriptor() { close(value); }
};

int open_for_reading(const fs::path& path) {
  // Without O_NONBLOCK the opening of a named pipe would wait for a writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  QUIVER_CHECK(descriptor >= 0 || (errno != ENOENT && errno != ENOTDIR), not_found, path.string(), "no such file");
  QUIVER_CHECK(descriptor >= 0, io, path.string(), "cannot open: {}", std::strerror(errno));
  return descriptor;
}

}  // namespace

std::shared_ptr<const MappedFile> MappedFile::open(const fs::path& path) {
  const Descriptor descriptor{open_for_reading(path)};
  struct stat status {};
  QUIVER_CHECK(fstat(descriptor.value, &status) == 0, io, path.string(), "cannot examine: {}", std::strerror(errno));
  QUIVER_CHECK(S_ISREG(status.st_mode), io, path.string(), "expected a regular file, this is {}",
               S_ISDIR(status.st_mode) ? "a folder" : "a pipe or a device");
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return std::shared_ptr<const MappedFile>(new MappedFile(nullptr, 0));  // mmap refuses 0 bytes
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor.value, 0);
  QUIVER_CHECK(data != MAP_FAILED, io, path.string(), "cannot map {} bytes: {}", size, std::strerror(errno));
  return std::shared_ptr<const MappedFile>(new MappedFile(static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (size_bytes_) munmap(const_cast<std::byte*>(data_), size_bytes_);
}

}  // namespace quiver::tensor_io
