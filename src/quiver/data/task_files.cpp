// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/task_files.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::data {
namespace {

/// Names of a split in the names of files.
constexpr std::array<std::pair<std::string_view, Split>, 8> kSplitWords = {{{"train", Split::train},
                                                                            {"training", Split::train},
                                                                            {"validation", Split::validation},
                                                                            {"valid", Split::validation},
                                                                            {"val", Split::validation},
                                                                            {"dev", Split::validation},
                                                                            {"test", Split::test},
                                                                            {"testing", Split::test}}};

std::vector<std::string> extensions_of(Format format) {
  switch (format) {
    case Format::csv:
      return {".csv"};
    case Format::tsv:
      return {".tsv"};
    case Format::natural_instructions:
      return {".json"};
    case Format::automatic:
      return {".jsonl", ".ndjson", ".json", ".csv", ".tsv"};
    case Format::rows:
    case Format::messages:
    case Format::alpaca:
      return {".jsonl", ".ndjson", ".json"};
  }
  return {};
}

/// Hidden files, what editors and office programs leave (#a#, a~, ~$a), what archives of a Mac and file servers add.
bool is_no_data(const fs::path& path) {
  const auto name = path.filename().string();
  return starts_with_any(name, {".", "#", "~$", "@eaDir", "__MACOSX", "__pycache__"}) || name.ends_with('~');
}

/// `x-train` is {"x", train}, `dev` is {"", validation}.
std::optional<std::pair<std::string, Split>> split_of_stem(const std::string& stem) {
  const auto name = lower_ascii(stem);
  const auto at = name.find_last_of("-_.");
  const auto word = at == std::string::npos ? name : name.substr(at + 1);
  for (const auto& [text, split] : kSplitWords) {
    if (word == text) return std::pair(stem.substr(0, at == std::string::npos ? 0 : at), split);
  }
  return std::nullopt;
}

/// The task files of a folder to any depth, sorted; the other files go to `others`.
std::vector<fs::path> search(const fs::path& folder, const std::vector<std::string>& extensions,
                             std::vector<std::string>& others) {
  std::vector<fs::path> files;
  for (auto entry = fs::recursive_directory_iterator(folder); entry != fs::recursive_directory_iterator(); ++entry) {
    if (is_no_data(entry->path())) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file()) {
      const auto extension = lower_ascii(entry->path().extension().string());
      const bool readable = std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
      if (readable) files.push_back(entry->path());
      if (!readable) others.push_back(fs::relative(entry->path(), folder).string());
    }
  }
  std::sort(files.begin(), files.end());
  std::sort(others.begin(), others.end());
  QUIVER_CHECK(!files.empty(), not_found, folder.string(), "expected task files (*{}) in the folder, came {}",
               join(extensions, ", *"), others.empty() ? "none" : "others alone: " + join(others, ", "));
  return files;
}

std::string named_few(const std::vector<std::string>& names) {
  constexpr std::size_t kNamed = 8;
  if (names.size() <= kNamed) return join(names, ", ");
  return fmt::format("{} and {} more", join({names.begin(), names.begin() + kNamed}, ", "), names.size() - kNamed);
}

/// Marks the files whose names hold splits of one task. A name that is a split alone stands for the folder's task;
/// otherwise two files of different splits must agree on the rest of their names.
void group_by_split(std::vector<TaskFile>& files) {
  struct Part {
    TaskFile* file;
    Split split;
  };
  std::map<std::pair<fs::path, std::string>, std::vector<Part>> groups;
  for (auto& file : files) {
    if (const auto part = split_of_stem(file.path.stem().string()))
      groups[{folder_of(file.path), part->first}].push_back({&file, part->second});
  }
  for (const auto& [place, parts] : groups) {
    std::set<Split> splits;
    for (const auto& part : parts) splits.insert(part.split);
    if (splits.size() < 2 && !place.second.empty()) continue;
    for (const auto& part : parts) {
      part.file->group = place.second.empty() ? place.first.filename().string() : place.second;
      part.file->split = part.split;
    }
  }
}

}  // namespace

fs::path folder_of(const fs::path& file) { return fs::absolute(file).lexically_normal().parent_path(); }

std::vector<TaskFile> find_task_files(const std::vector<fs::path>& paths, Format format,
                                      std::vector<std::string>& notes) {
  std::vector<TaskFile> out;
  for (const auto& path : paths) {
    if (!fs::is_directory(path)) {
      out.push_back({path});
      continue;
    }
    std::vector<std::string> others;
    for (auto& file : search(path, extensions_of(format), others)) out.push_back({std::move(file), true});
    if (!others.empty())
      notes.push_back(fmt::format("{}: {} no task file{} and passed over: {}", path.string(),
                                  others.size() == 1 ? "1 is" : fmt::format("{} are", others.size()),
                                  others.size() == 1 ? "" : "s", named_few(others)));
  }
  group_by_split(out);
  return out;
}

}  // namespace quiver::data
