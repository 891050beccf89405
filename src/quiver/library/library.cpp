// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/library.h"

#include <ATen/Parallel.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <tuple>

#include "quiver/adapter/finite.h"
#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/base/strings.h"
#include "quiver/library/derived_beside.h"
#include "quiver/library/expert_file.h"

namespace quiver::library {
namespace {

using nlohmann::json;
constexpr int kFormatVersion = 1;
constexpr std::size_t kKeyDigits = 16;

fs::path manifest_path(const fs::path& folder) { return folder / "library.json"; }

/// A folder that stays the same one while its name is given to another, or to none.
class OpenFolder {
 public:
  explicit OpenFolder(const fs::path& folder)
      : folder_(folder),
        file_(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
        missing_(file_ < 0 && errno == ENOENT) {}
  ~OpenFolder() {
    if (file_ >= 0) ::close(file_);
  }
  OpenFolder(const OpenFolder&) = delete;
  OpenFolder& operator=(const OpenFolder&) = delete;

  /// Where its files are read: through the open folder, or by its name where there is none.
  fs::path path() const { return file_ < 0 ? folder_ : fs::path("/proc/self/fd") / std::to_string(file_); }
  /// True where its name still is this folder's.
  bool still_named() const {
    struct stat now {
    }, then{};
    const bool there = stat(folder_.c_str(), &now) == 0;
    if (file_ < 0) return !(missing_ && there);  // what is no folder, or cannot be opened, stays so
    return there && fstat(file_, &then) == 0 && now.st_ino == then.st_ino && now.st_dev == then.st_dev;
  }
  /// A message with the folder's name for that of the open one.
  std::string named(std::string message) const {
    replace_all(message, path().string(), folder_.string());
    return message;
  }

 private:
  fs::path folder_;
  int file_;
  bool missing_;
};

/// What read(place of the files) returns. Where it failed and the folder has been replaced meanwhile, it reads the new
/// one.
template <typename Read>
auto read_one_version(const fs::path& folder, Read read) {
  for (;;) {
    const OpenFolder open(folder);
    try {
      return read(open.path());
    } catch (const Error& error) {
      if (open.still_named()) throw Error(error.code(), open.named(error.what()));
    }
  }
}

void check_identity(const fs::path& folder, const adapter::Adapter& adapter, const ExpertInfo& known) {
  QUIVER_CHECK(
      adapter::identity(adapter) == known.identity, mismatch, folder.string(),
      "the factors are not those that expert.json was written for; 'quiver library verify' lists what changed");
}

void check_finite(const std::string& name, const adapter::Adapter& adapter) {
  const auto found = adapter::not_finite(adapter);
  QUIVER_CHECK(found.empty(), format, "expert " + name,
               "{} holds NaN or infinity, so that no result of it is a number; leave the expert out, by --experts or "
               "'quiver library remove'",
               found);
}

bool is_expert_name(const std::string& name) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '_' || c == '-'; };
  return !name.empty() && name.size() <= 128 && name[0] != '.' && std::all_of(name.begin(), name.end(), allowed);
}

bool holds_adapter(const fs::path& folder) { return fs::exists(folder / "adapter_config.json"); }

/// An adapter that was put there by hand, which no one knows anything of; and how it becomes an expert.
std::string adapter_without_info(const fs::path& folder, const fs::path& library) {
  return fmt::format("an adapter without {}; 'quiver library add {} --library {}' makes it an expert", kExpertFile,
                     folder.string(), library.string());
}

/// calls f(name) for a name that was listed, again where the expert was replaced or put back meanwhile; false where it
/// is gone.
template <typename F>
bool if_present(const Library& library, const std::string& name, F f) {
  for (int attempt = 0;; ++attempt) {
    try {
      f(name);
      return true;
    } catch (const Error& error) {
      constexpr int kAttempts = 16;
      if (error.code() != ErrorCode::usage || attempt == kAttempts) throw;
      if (!library.contains(name)) return false;
    }
  }
}

/// The nearest folder that is there, of a file that is to be written.
fs::path nearest_folder(fs::path path) {
  while (path.has_relative_path() && !fs::exists(path)) path = path.parent_path();
  return path.empty() ? fs::path(".") : path;
}

bool may_write(const fs::path& path) { return access(path.c_str(), W_OK) == 0; }

}  // namespace

Library::Library(fs::path folder) : folder_(std::move(folder)), beside_(std::make_shared<DerivedBeside>()) {}

void check_expert_name(const std::string& name) {
  QUIVER_CHECK(is_expert_name(name), usage, "expert name",
               "{:?}, expected letters, digits, '.', '_' or '-', not starting with a dot, at most 128", name);
}

Library Library::open(const fs::path& folder) {
  const auto where = manifest_path(folder).string();
  QUIVER_CHECK(fs::exists(manifest_path(folder)), not_found, folder.string(),
               "no library.json in it; 'quiver train' or 'quiver library add' makes a library");
  const auto manifest = json::parse(read_file(manifest_path(folder), 1 << 20), nullptr, false);
  QUIVER_CHECK(manifest.is_object(), format, where, "expected a JSON object");
  const auto version = manifest.value("format", json());
  QUIVER_CHECK(version == kFormatVersion, unsupported, where, "'format' = {}, this program reads {}", version.dump(),
               kFormatVersion);
  Library library(folder);
  library.base_model_ = text_field(manifest, "base_model", where);
  library.fingerprint_ = text_field(manifest, "fingerprint", where);
  return library;
}

Library Library::open_or_create(const fs::path& folder, const std::string& base_model, const std::string& fingerprint,
                                bool allow_other_base) {
  const FileLock lock(folder / ".lock");
  if (!fs::exists(manifest_path(folder))) {
    const json manifest{{"format", kFormatVersion}, {"base_model", base_model}, {"fingerprint", fingerprint}};
    write_file_atomically(manifest_path(folder), manifest.dump(2) + "\n");
  }
  auto library = open(folder);
  check_base(library, fingerprint, allow_other_base);
  return library;
}

fs::path Library::expert_folder(const std::string& name) const { return folder_ / "experts" / name; }
fs::path Library::run_folder(const std::string& name) const { return folder_ / "runs" / name; }

std::vector<std::string> Library::names() const {
  std::vector<std::string> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_ / "experts", error)) {
    auto name = entry.path().filename().string();
    if (is_expert_name(name) && contains(name)) out.push_back(std::move(name));
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Stray> Library::strays() const {
  std::vector<Stray> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_ / "experts", error)) {
    const auto& path = entry.path();
    const auto name = path.filename().string();
    if (name.starts_with('.') || !entry.is_directory(error)) continue;
    const OpenFolder open(path);
    if (is_expert_name(name) && fs::exists(open.path() / kExpertFile)) continue;
    const bool adapter = holds_adapter(open.path());
    if (!open.still_named()) continue;  // it is on its way elsewhere
    const auto what = !adapter ? std::string("a folder without an adapter")
                      : is_expert_name(name)
                          ? adapter_without_info(path, folder_)
                          : std::string(
                                "an adapter under a name that no expert can have; 'quiver library add' of that "
                                "folder with --name makes it one");
    out.push_back({name, what, adapter});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

bool Library::contains(const std::string& name) const { return fs::exists(expert_folder(name) / kExpertFile); }

ExpertInfo Library::info_at(const fs::path& place, const std::string& name) const {
  if (!fs::exists(place / kExpertFile)) {
    const auto folder = expert_folder(name);
    QUIVER_CHECK(!holds_adapter(place), usage, folder.string(), "{}", adapter_without_info(folder, folder_));
    fail(ErrorCode::usage, "expert " + name, "not in {}{}", folder_.string(), suggestion(name, names()));
  }
  return read_expert_file(place, name);
}

ExpertInfo Library::info(const std::string& name) const {
  check_expert_name(name);
  return read_one_version(expert_folder(name), [&](const fs::path& place) { return info_at(place, name); });
}

std::vector<ExpertInfo> Library::infos() const {
  std::vector<ExpertInfo> out;
  for (const auto& name : names()) if_present(*this, name, [&](const auto& n) { out.push_back(info(n)); });
  return out;
}

LoadedExpert Library::load_expert(const std::string& name) const {
  check_expert_name(name);
  return read_one_version(expert_folder(name), [&](const fs::path& place) {
    LoadedExpert out{info_at(place, name), adapter::read_peft(place)};
    const auto& stamp = out.info.files_stamp;
    if (stamp.empty() || stamp != files_stamp(place)) check_identity(expert_folder(name), out.adapter, out.info);
    if (!out.info.finite) check_finite(name, out.adapter);
    return out;
  });
}

std::vector<LoadedExpert> Library::load_experts(const std::vector<std::string>& names) const {
  std::vector<LoadedExpert> out(names.size());
  at::parallel_for(0, static_cast<std::int64_t>(names.size()), 8, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      out[i] = load_expert(names[i]);
  });
  return out;
}

std::vector<LoadedExpert> Library::load_present(const std::vector<std::string>& names) const {
  std::vector<std::optional<LoadedExpert>> found(names.size());
  at::parallel_for(0, static_cast<std::int64_t>(names.size()), 8, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      if_present(*this, names[i], [&](const auto& name) { found[i] = load_expert(name); });
  });
  std::vector<LoadedExpert> out;
  for (auto& expert : found) {
    if (expert) out.push_back(std::move(*expert));
  }
  return out;
}

void Library::save(ExpertInfo info, const adapter::Adapter& adapter, bool replace) const {
  check_expert_name(info.name);
  check_finite(info.name, adapter);
  info.finite = true;
  info.identity = adapter::identity(adapter);
  const FileLock lock(folder_ / ".lock");
  remove_stale_temporaries(folder_ / "experts");
  QUIVER_CHECK(replace || !contains(info.name), usage, "expert " + info.name,
               "already in {}; --replace overwrites it, another --name keeps both", folder_.string());
  write_folder_atomically(expert_folder(info.name), [&](const fs::path& temporary) {
    adapter::write_peft(temporary, adapter, base_model_);
    write_expert_file(temporary, info);
  });
}

void Library::set_tasks(const std::string& name, const std::vector<std::string>& tasks) const {
  const FileLock lock(folder_ / ".lock");
  auto known = load_expert(name).info;  // whose files are checked, for they are stamped anew
  known.tasks = tasks;
  write_expert_file(expert_folder(name), known);
}

void Library::check_writable() const {
  const auto lock = folder_ / ".lock";
  errno = 0;
  const bool writable =
      may_write(folder_) && may_write(nearest_folder(folder_ / "experts")) && (!fs::exists(lock) || may_write(lock));
  QUIVER_CHECK(writable, io, folder_.string(), "cannot be written: {}", std::strerror(errno));
}

void Library::remove(const std::string& name) const {
  const FileLock lock(folder_ / ".lock");
  info(name);
  fs::create_directories(folder_ / "removed");
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto stamp = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  fs::rename(expert_folder(name), folder_ / "removed" / fmt::format("{}-{}", name, stamp));
}

std::vector<std::string> Library::verify() const {
  std::vector<std::string> problems;
  const auto check = [&](const std::string& name) {
    try {
      const auto loaded = load_expert(name);
      check_identity(expert_folder(name), loaded.adapter, loaded.info);
      check_finite(name, loaded.adapter);
      if (loaded.info.base_fingerprint != fingerprint_)
        problems.push_back(name + ": trained on another base model than the library's");
    } catch (const Error& error) {
      if (error.code() == ErrorCode::usage) throw;  // it is gone
      problems.push_back(name + ": " + error.what());
    }
  };
  for (const auto& name : names()) if_present(*this, name, check);
  for (const auto& stray : strays()) {
    if (stray.adapter) problems.push_back(stray.name + ": " + stray.what);
  }
  std::sort(problems.begin(), problems.end());
  return problems;
}

namespace {

std::string file_name(const std::string& kind, const std::string& key, const std::string& extension) {
  return fmt::format("{}-{}.{}", kind, key.substr(0, kKeyDigits), extension);
}

}  // namespace

std::optional<fs::path> Library::derived(const std::string& kind, const std::string& key,
                                         const std::string& extension) const {
  for (const auto& folder : {beside_->folder_if_used(), folder_ / "derived"}) {
    const auto path = folder / file_name(kind, key, extension);
    if (!folder.empty() && fs::exists(path)) return path;
  }
  return std::nullopt;
}

void Library::write_derived(const std::string& kind, const std::string& key, const std::string& extension,
                            const std::function<void(const fs::path&)>& write) const {
  const auto name = file_name(kind, key, extension), lock_file = (folder_ / ".lock").string();
  const auto path = folder_ / "derived" / name;
  const bool lockable = fs::exists(lock_file) ? may_write(lock_file) : may_write(folder_);
  if (!lockable || !may_write(nearest_folder(path.parent_path())))
    return write_file_atomically(beside_->folder() / name, write);
  const FileLock lock(lock_file);
  write_file_atomically(path, write);
  const auto prefix = fs::path(kind).filename().string() + "-";
  for (const auto& entry : fs::directory_iterator(path.parent_path())) {
    const auto other = entry.path().filename().string();
    const bool same_kind = other.starts_with(prefix) && other.size() == path.filename().string().size();
    if (same_kind && entry.path() != path) fs::remove(entry.path());
  }
}

bool Library::keeps_derived() const { return beside_->folder_if_used().empty(); }
bool Library::unkept_to_tell() const { return beside_->first_asked_since_used(); }

std::string Library::contents_key() const {
  Sha256 hash;
  hash.add(fingerprint_);
  for (const auto& known : infos()) hash.add("\n" + known.name + " " + known.identity);
  return hash.hex();
}

std::string Library::contents_key(const std::vector<std::string>& names) const {
  Sha256 hash;
  hash.add(fingerprint_);
  for (const auto& name : names) hash.add("\n" + name + " " + info(name).identity);
  return hash.hex();
}

void check_base(const Library& library, const std::string& model_fingerprint, bool allow_other_base) {
  QUIVER_CHECK(allow_other_base || library.fingerprint() == model_fingerprint, mismatch, library.folder().string(),
               "its experts were trained on {} (fingerprint {:.12}), the model given has {:.12}; --allow-other-base "
               "uses it anyway",
               library.base_model(), library.fingerprint(), model_fingerprint);
}

}  // namespace quiver::library
