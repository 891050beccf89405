// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/files.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "quiver/base/error.h"

namespace quiver {
namespace {

constexpr std::string_view kTemporaryMark = ".writing-";

fs::path temporary_sibling(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  const auto name = fmt::format(".{}{}{}-{}", path.filename().string(), kTemporaryMark, getpid(), counter++);
  return path.parent_path() / name;
}

void flush_to_disk(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY);
  if (descriptor < 0) return;
  fsync(descriptor);
  close(descriptor);
}

fs::path parent_of(const fs::path& path) {
  const auto parent = path.parent_path();
  return parent.empty() ? fs::path(".") : parent;
}

void make_parent(const fs::path& path) {
  std::error_code error;
  fs::create_directories(parent_of(path), error);
  QUIVER_CHECK(!error, io, path.string(), "cannot create its folder: {}", error.message());
}

}  // namespace

std::string read_file(const fs::path& path, std::uint64_t limit_bytes) {
  std::error_code error;
  const auto status = fs::status(path, error);
  QUIVER_CHECK(fs::exists(status), not_found, path.string(), "no such file");
  QUIVER_CHECK(!fs::is_directory(status), io, path.string(), "expected a file, this is a folder");
  const auto size = fs::is_regular_file(status) ? fs::file_size(path, error) : 0;
  QUIVER_CHECK(size <= limit_bytes, format, path.string(), "{} bytes, more than the limit of {}", size, limit_bytes);
  std::ifstream stream(path, std::ios::binary);
  QUIVER_CHECK(stream.good(), io, path.string(), "cannot open: {}", std::strerror(errno));
  std::string bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  return bytes;
}

void write_file_atomically(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  make_parent(path);
  const auto temporary = temporary_sibling(path);
  try {
    write(temporary);
    flush_to_disk(temporary);
    fs::rename(temporary, path);
    flush_to_disk(parent_of(path));
  } catch (const fs::filesystem_error& error) {
    fs::remove(temporary);
    fail(ErrorCode::io, path.string(), "cannot write: {}", error.code().message());
  } catch (...) {
    fs::remove(temporary);
    throw;
  }
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  write_file_atomically(path, [&](const fs::path& temporary) {
    std::ofstream stream(temporary, std::ios::binary);
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    stream.close();
    QUIVER_CHECK(stream.good(), io, path.string(), "cannot write: {}", std::strerror(errno));
  });
}

void write_folder_atomically(const fs::path& path, const std::function<void(const fs::path&)>& fill) {
  make_parent(path);
  const auto temporary = temporary_sibling(path);
  try {
    fs::create_directories(temporary);
    fill(temporary);
    for (const auto& entry : fs::recursive_directory_iterator(temporary)) flush_to_disk(entry.path());
    if (fs::exists(path)) {
      const auto old = temporary_sibling(path);
      fs::rename(path, old);
      fs::rename(temporary, path);
      fs::remove_all(old);
    } else {
      fs::rename(temporary, path);
    }
    flush_to_disk(parent_of(path));
  } catch (const fs::filesystem_error& error) {
    fs::remove_all(temporary);
    fail(ErrorCode::io, path.string(), "cannot write: {}", error.code().message());
  } catch (...) {
    fs::remove_all(temporary);
    throw;
  }
}

void remove_stale_temporaries(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const auto name = entry.path().filename().string();
    const auto mark = name.find(kTemporaryMark);
    if (mark == std::string::npos) continue;
    const int owner = std::atoi(name.c_str() + mark + kTemporaryMark.size());
    const bool alive = owner > 0 && (kill(owner, 0) == 0 || errno == EPERM);
    if (!alive) fs::remove_all(entry.path(), error);
  }
}

FileLock::FileLock(const fs::path& path) {
  make_parent(path);
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  QUIVER_CHECK(descriptor_ >= 0, io, path.string(), "cannot open the lock file: {}", std::strerror(errno));
  while (flock(descriptor_, LOCK_EX) != 0) {
    QUIVER_CHECK(errno == EINTR, io, path.string(), "cannot lock: {}", std::strerror(errno));
  }
}

FileLock::~FileLock() { close(descriptor_); }

fs::path cache_folder() {
  if (const char* own = std::getenv("QUIVER_CACHE"); own && *own) return own;
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg) return fs::path(xdg) / "quiver";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : ".") / ".cache" / "quiver";
}

}  // namespace quiver
