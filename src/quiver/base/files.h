// SPDX-License-Identifier: Apache-2.0
// Whole files: read with a limit, written so that a reader or a crash sees either the old content or the new one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace quiver {

namespace fs = std::filesystem;

/// The bytes of a file. Throws Error{not_found|io} and, above `limit_bytes`, Error{format}.
std::string read_file(const fs::path& path, std::uint64_t limit_bytes = std::uint64_t{1} << 32);

/// Writes through a temporary file beside `path`, flushed to disk, then renamed over it. Creates parent folders.
void write_file_atomically(const fs::path& path, std::string_view bytes);

/// The same for a writer that fills the temporary file itself.
void write_file_atomically(const fs::path& path, const std::function<void(const fs::path& temporary)>& write);

/// Fills a temporary sibling folder with `fill`, then moves it to `path` in one step, replacing what is there.
void write_folder_atomically(const fs::path& path, const std::function<void(const fs::path& temporary)>& fill);

/// Lets `work` fill a temporary sibling folder and move out of it what it wants to keep; the folder is gone afterwards,
/// and system errors become Error{io}.
void with_temporary_folder(const fs::path& path, const std::function<void(const fs::path& temporary)>& work);

/// Removes what killed writers left in `folder`: temporary siblings of write_*_atomically whose process is gone.
/// Processes are known by their id on this machine, so a folder that several machines write to at once is not for it.
void remove_stale_temporaries(const fs::path& folder);

/// An exclusive lock on `path` between processes and threads, held while the object lives. The file is created when it
/// is missing, with the rights that the umask leaves, so that a group that shares a folder can lock in turn.
class FileLock {
 public:
  /// Waits where another holds the lock, after a call of `waits` (may be null). Throws Error{io} where the file cannot
  /// be opened for writing or locked.
  explicit FileLock(const fs::path& path, const std::function<void()>& waits = nullptr);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_;
};

/// `$QUIVER_CACHE`, else `$XDG_CACHE_HOME/quiver`, else `~/.cache/quiver`.
fs::path cache_folder();

}  // namespace quiver
