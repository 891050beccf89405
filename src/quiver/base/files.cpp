// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "quiver/base/error.h"

namespace quiver {
namespace {

constexpr std::string_view kTemporaryMark = ".writing-";

/// Tells this process from an earlier one of the same id, as containers have: the time of its first write.
long long process_token() {
  static const long long token = std::chrono::system_clock::now().time_since_epoch().count();
  return token;
}

/// `.NAME.writing-PID-TOKEN-N` beside `path`.
fs::path temporary_sibling(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  const auto name =
      fmt::format(".{}{}{}-{}-{}", path.filename().string(), kTemporaryMark, getpid(), process_token(), counter++);
  return path.parent_path() / name;
}

bool is_stale_temporary(const std::string& name) {
  const auto mark = name.rfind(kTemporaryMark);
  if (mark == std::string::npos || name.front() != '.') return false;
  int owner = 0;
  long long token = 0;
  unsigned count = 0;
  const char* numbers = name.c_str() + mark + kTemporaryMark.size();
  if (std::sscanf(numbers, "%d-%lld-%u", &owner, &token, &count) != 3 || owner <= 0) return false;
  if (owner == getpid()) return token != process_token();
  return kill(owner, 0) != 0 && errno != EPERM;
}

[[noreturn]] void throw_errno(const char* what, const fs::path& path) {
  throw fs::filesystem_error(what, path, std::error_code(errno, std::generic_category()));
}

/// Some file systems cannot flush a folder (EINVAL); a full or broken disk is an error.
void flush_to_disk(const fs::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  const int error = fsync(descriptor) == 0 ? 0 : errno;
  close(descriptor);
  if (error == 0 || error == EINVAL || error == EROFS) return;
  errno = error;
  throw_errno("flush", path);
}

/// Moves the folder `from` to `to`. What was at `to` is at `from` afterwards, and there is no moment without a `to`,
/// except on the few file systems that cannot exchange two names (network mounts), where there is a short one.
void move_in_place_of(const fs::path& from, const fs::path& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return;
  if (errno == EEXIST && renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS) throw_errno("rename", to);
  const auto old = temporary_sibling(to);
  const bool replaces = fs::exists(to);
  if (replaces) fs::rename(to, old);
  fs::rename(from, to);
  if (replaces) fs::rename(old, from);
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

/// Runs `write(temporary)`; whatever it leaves there is gone afterwards, and system errors become Error{io}.
void with_temporary(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  make_parent(path);
  const auto temporary = temporary_sibling(path);
  std::error_code ignored;
  try {
    write(temporary);
  } catch (const fs::filesystem_error& error) {
    fs::remove_all(temporary, ignored);
    fail(ErrorCode::io, path.string(), "cannot write: {}", error.code().message());
  } catch (...) {
    fs::remove_all(temporary, ignored);
    throw;
  }
  fs::remove_all(temporary, ignored);
}

}  // namespace

std::string read_file(const fs::path& path, std::uint64_t limit_bytes) {
  constexpr std::uint64_t kChunk_bytes = 1 << 20;
  std::error_code error;
  const auto status = fs::status(path, error);
  QUIVER_CHECK(fs::exists(status), not_found, path.string(), "no such file");
  QUIVER_CHECK(!fs::is_directory(status), io, path.string(), "expected a file, this is a folder");
  const std::uint64_t size = fs::is_regular_file(status) ? fs::file_size(path, error) : 0;
  QUIVER_CHECK(!error, io, path.string(), "cannot read: {}", error.message());
  QUIVER_CHECK(size <= limit_bytes, format, path.string(), "{} bytes, more than the limit of {}", size, limit_bytes);
  std::ifstream stream(path, std::ios::binary);
  QUIVER_CHECK(stream.good(), io, path.string(), "cannot open: {}", std::strerror(errno));
  std::string bytes;
  // A pipe, or a file that grows, tells its size only by ending.
  for (std::uint64_t want = std::max<std::uint64_t>(size + 1, 4096); stream.good(); want = kChunk_bytes) {
    const auto have = bytes.size();
    bytes.resize(have + want);
    stream.read(bytes.data() + have, static_cast<std::streamsize>(want));
    bytes.resize(have + static_cast<std::size_t>(stream.gcount()));
    QUIVER_CHECK(bytes.size() <= limit_bytes, format, path.string(), "more than the limit of {} bytes", limit_bytes);
  }
  QUIVER_CHECK(!stream.bad(), io, path.string(), "cannot read: {}", std::strerror(errno));
  return bytes;
}

void write_file_atomically(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  with_temporary(path, [&](const fs::path& temporary) {
    write(temporary);
    flush_to_disk(temporary);
    fs::rename(temporary, path);
    flush_to_disk(parent_of(path));
  });
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  write_file_atomically(path, [&](const fs::path& temporary) {
    std::ofstream stream(temporary, std::ios::binary);
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    stream.close();
    QUIVER_CHECK(stream.good(), io, path.string(), "cannot write: {}", std::strerror(errno));
  });
}

void write_folder_atomically(const fs::path& folder, const std::function<void(const fs::path&)>& fill) {
  const auto path = folder.has_filename() ? folder : folder.parent_path();  // "a/" names the folder "a"
  with_temporary(path, [&](const fs::path& temporary) {
    fs::create_directory(temporary);
    fill(temporary);
    for (const auto& entry : fs::recursive_directory_iterator(temporary)) flush_to_disk(entry.path());
    flush_to_disk(temporary);
    move_in_place_of(temporary, path);
    flush_to_disk(parent_of(path));
  });
}

void with_temporary_folder(const fs::path& path, const std::function<void(const fs::path&)>& work) {
  with_temporary(path, [&](const fs::path& temporary) {
    fs::create_directory(temporary);
    work(temporary);
  });
}

void remove_stale_temporaries(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (is_stale_temporary(entry.path().filename().string())) fs::remove_all(entry.path(), error);
  }
}

FileLock::FileLock(const fs::path& path, const std::function<void()>& waits) {
  make_parent(path);
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  QUIVER_CHECK(descriptor_ >= 0, io, path.string(), "cannot open the lock file: {}", std::strerror(errno));
  if (waits && flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) waits();
  while (flock(descriptor_, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    const int error = errno;
    close(descriptor_);
    fail(ErrorCode::io, path.string(), "cannot lock: {}", std::strerror(error));
  }
}

FileLock::~FileLock() {
  flock(descriptor_, LOCK_UN);  // closing alone would not do while a forked child holds the descriptor too
  close(descriptor_);
}

fs::path cache_folder() {
  if (const char* own = std::getenv("QUIVER_CACHE"); own && *own) return own;
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg) return fs::path(xdg) / "quiver";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : ".") / ".cache" / "quiver";
}

}  // namespace quiver
