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

std::shared_ptr<const MappedFile> MappedFile::open(const fs::path& path) {
  const auto where = path.string();
  QUIVER_CHECK(fs::exists(path), not_found, where, "no such file");
  QUIVER_CHECK(fs::is_regular_file(path), io, where, "expected a regular file");
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  QUIVER_CHECK(descriptor >= 0, io, where, "cannot open: {}", std::strerror(errno));
  struct stat status {};
  const bool known = fstat(descriptor, &status) == 0;
  const auto size = static_cast<std::size_t>(status.st_size);
  void* data = known && size ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0) : nullptr;
  const int error = errno;
  close(descriptor);
  QUIVER_CHECK(known && data != MAP_FAILED, io, where, "cannot map: {}", std::strerror(error));
  return std::shared_ptr<const MappedFile>(new MappedFile(static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (size_) munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace quiver::tensor_io
