// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/output_folder.h"

#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "quiver/base/error.h"

namespace quiver {
namespace {

/// Absolute, without links, dots and an ending slash; of what is not there, as far as it is.
fs::path plain(const fs::path& path) {
  std::error_code error;
  auto out = fs::weakly_canonical(fs::absolute(path), error);
  if (error) out = fs::absolute(path).lexically_normal();
  return out.has_filename() || !out.has_relative_path() ? out : out.parent_path();
}

/// True where `path` is `folder` or lies in it.
bool lies_in(const fs::path& path, const fs::path& folder) {
  const auto [in_folder, in_path] = std::mismatch(folder.begin(), folder.end(), path.begin(), path.end());
  return in_folder == folder.end();
}

bool is_library(const fs::path& folder) { return fs::exists(folder / "library.json"); }

/// The library whose rooms `path` lies in; empty where it lies in none.
fs::path library_around(const fs::path& path) {
  static const std::set<std::string> rooms{"experts", "derived", "removed", "routers", "runs"};
  for (auto at = path; at.has_relative_path(); at = at.parent_path()) {
    if (rooms.contains(at.filename().string()) && is_library(at.parent_path())) return at.parent_path();
  }
  return {};
}

bool is_part(const ResultFiles& files, const fs::path& relative) {
  return std::any_of(files.begin(), files.end(), [&](const auto& pattern) {
    return fnmatch(pattern.c_str(), relative.c_str(), FNM_PATHNAME | FNM_PERIOD) == 0;
  });
}

struct Found {
  std::vector<fs::path> parts;   ///< files of the result's kind
  std::vector<fs::path> others;  ///< everything else that is no folder, and folders that hold nothing
};

/// What lies in a folder, as paths relative to it.
Found found_in(const fs::path& folder, const ResultFiles& files) {
  Found out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const auto relative = entry.path().lexically_relative(folder);
    if (entry.is_directory() && !entry.is_symlink()) {
      if (fs::is_empty(entry.path()) && !is_part(files, relative)) out.others.push_back(relative);
    } else {
      (is_part(files, relative) ? out.parts : out.others).push_back(relative);
    }
  }
  return out;
}

bool is_free(const fs::path& folder, const ResultFiles& unfinished = {}) {
  if (!fs::exists(folder) || fs::is_empty(folder)) return true;
  return !unfinished.empty() && found_in(folder, unfinished).others.empty();
}

void check_no_library(const fs::path& path, const std::string& given, const std::string& option) {
  const auto around = library_around(path);
  QUIVER_CHECK(around.empty(), usage, option,
               "{} lies in the library {}, whose files the library itself writes; name another place", given,
               around.string());
}

/// Moves the files of `from` to the output one by one, over those of their names that are of the result's kind.
std::set<fs::path> move_files(const fs::path& from, const fs::path& to, const OutputFolder& output) {
  std::set<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    if (!entry.is_directory()) files.insert(entry.path().lexically_relative(from));
  }
  for (const auto& file : files) {
    QUIVER_CHECK(is_part(output.files, file) || !fs::exists(to / file), usage, output.option,
                 "{} holds another '{}' than the result's; name another folder", output.path.string(), file.string());
  }
  for (const auto& file : files) {
    fs::create_directories((to / file).parent_path());
    fs::rename(from / file, to / file);
  }
  return files;
}

}  // namespace

ResultFiles adapter_files() {
  return {"adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "expert.json",
          "signature.safetensors"};
}

ResultFiles model_files() {
  return {"config.json",
          "generation_config.json",
          "model.safetensors",
          "model-*-of-*.safetensors",
          "model.safetensors.index.json",
          "pytorch_model.bin",
          "pytorch_model-*-of-*.bin",
          "pytorch_model.bin.index.json",
          "tokenizer.json",
          "tokenizer.model",
          "tokenizer_config.json",
          "special_tokens_map.json",
          "added_tokens.json",
          "vocab.json",
          "merges.txt",
          "spiece.model",
          "sentencepiece.model",
          "chat_template.jinja",
          "chat_template.json"};
}

void check_output(const OutputFolder& output) {
  const auto given = output.path.string();
  QUIVER_CHECK(!given.empty(), usage, output.option, "expected a folder, got an empty name");
  const auto path = plain(output.path);
  for (const auto& input : output.inputs) {
    QUIVER_CHECK(!lies_in(plain(input), path), usage, output.option,
                 "{} {} {}, which the result is made from; name another folder", given,
                 plain(input) == path ? "is" : "holds", input.string());
  }
  QUIVER_CHECK(!is_library(path), usage, output.option, "{} is a library; name another folder", given);
  check_no_library(path, given, output.option);
  QUIVER_CHECK(!fs::exists(path) || fs::is_directory(path), usage, output.option,
               "{} is a file, expected a folder; name another", given);
  QUIVER_CHECK(output.replace || is_free(path, output.unfinished), usage, output.option,
               "{} is there already and holds other files; name another folder, or give --replace, which replaces the "
               "files of an earlier result and keeps the rest",
               given);
}

void write_output(const OutputFolder& output, const std::function<void(const fs::path&)>& fill) {
  check_output(output);
  const auto path = plain(output.path);
  std::error_code ignored;
  const bool entered =
      fs::equivalent(path, fs::current_path(), ignored);  // a shell would be left in a folder that is gone
  if (!entered && is_free(path)) return write_folder_atomically(path, fill);
  const auto found = found_in(path, output.files);
  if (!entered && found.others.empty()) return write_folder_atomically(path, fill);
  std::set<fs::path> moved;
  with_temporary_folder(path, [&](const fs::path& temporary) {
    fill(temporary);
    moved = move_files(temporary, path, output);
  });
  for (const auto& part : found.parts) {
    if (!moved.contains(part)) fs::remove(path / part, ignored);
  }
}

void check_output_file(const fs::path& path, const std::string& option,
                       const std::function<bool(const std::string& head)>& known) {
  constexpr std::streamsize kHead_bytes = 4096;
  QUIVER_CHECK(!path.empty(), usage, option, "expected a file, got an empty name");
  QUIVER_CHECK(!fs::is_directory(path), usage, option, "{} is a folder, expected a file; name a file in it",
               path.string());
  check_no_library(plain(path), path.string(), option);
  auto above = plain(path).parent_path();
  while (!fs::exists(above) && above.has_relative_path()) above = above.parent_path();
  QUIVER_CHECK(fs::is_directory(above) && access(above.c_str(), W_OK) == 0, usage, option,
               "{} cannot be written: {} is no folder that may be written to; name another file", path.string(),
               above.string());
  if (!fs::is_regular_file(path) || fs::file_size(path) == 0) return;
  std::string head(kHead_bytes, '\0');
  std::ifstream stream(path, std::ios::binary);
  stream.read(head.data(), kHead_bytes);
  head.resize(static_cast<std::size_t>(stream.gcount()));
  QUIVER_CHECK(known(head), usage, option,
               "{} is there already and is no result of this kind; name another file, or move it away", path.string());
}

}  // namespace quiver
