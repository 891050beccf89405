// SPDX-License-Identifier: Apache-2.0
#include "quiver/recipes/cell.h"

#include <algorithm>
#include <fstream>

#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/base/strings.h"
#include "quiver/base/version.h"
#include "quiver/library/library.h"
#include "quiver/recipes/versions.h"

namespace quiver::recipes {
namespace {

using nlohmann::json;

std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) || std::string_view("_-./:=,+@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return word;
  auto inner = word;
  replace_all(inner, "'", "'\\''");
  return "'" + inner + "'";
}

}  // namespace

std::string CellStore::filled(const std::string& text) const {
  auto out = text;
  replace_all(out, "{data}", data_.string());
  replace_all(out, "{output}", output_.string());
  return out;
}

std::string CellStore::task_name(const std::string& task) const {
  std::ifstream file(task_file(task));
  std::string line;
  std::getline(file, line);
  const auto row = json::parse(line, nullptr, false);
  const bool named = row.is_object() && row.contains("task") && row["task"].is_string();
  return named ? row["task"].get<std::string>() : short_name(task);
}

Arguments CellStore::command(const Cell& cell, const std::vector<std::string>& tasks) const {
  Arguments out;
  for (const auto& argument : cell.command) out.push_back(filled(argument));
  for (const auto& task : tasks) out.insert(out.end(), {"--task", task_file(task).string()});
  out.push_back("--json");
  return out;
}

json CellStore::depends(const Cell& cell) {
  json files = json::array();  // in the order given: experts of several tasks learn in that order
  for (const auto& task : cell.tasks) {
    auto& hash = hashes_[task];
    if (hash.empty()) hash = sha256_hex(read_file(task_file(task)));
    files.push_back({task, hash});
  }
  json out{{"version", version()},
           {"methods", versions_of(cell.command)},
           {"command", cell.command},
           {"experts", cell.identities},
           {"tasks", files}};
  for (const auto& preparation : cell.after) out["prepared"].push_back(depends(preparation));
  return out;
}

std::string CellStore::key(const Cell& cell) { return sha256_hex(depends(cell).dump()); }

std::string CellStore::made(const Cell& cell) const {
  return cell.library.empty() ? "" : expert_identity(filled(cell.library), cell.makes);
}

std::optional<CellResult> CellStore::find(const Cell& cell) {
  if (!cell.ready || !fs::exists(file(cell))) return std::nullopt;
  const auto stored = json::parse(read_file(file(cell)), nullptr, false);
  const bool whole = stored.is_object() && stored.contains("lines") && stored["lines"].is_array() &&
                     stored.contains("seconds") && stored["seconds"].is_number();
  const bool holds = cell.library.empty() || stored.value("made", "") == made(cell);
  if (!whole || !holds) return std::nullopt;
  return CellResult{stored["lines"].get<std::vector<json>>(), stored["seconds"].get<double>()};
}

void CellStore::save(const Cell& cell, const CellResult& result) {
  const json stored{{"format", 1},
                    {"label", cell.label},
                    {"command", shell_text(command(cell, cell.tasks))},
                    {"depends", depends(cell)},
                    {"made", made(cell)},
                    {"seconds", result.seconds},
                    {"lines", result.lines}};
  write_file_atomically(file(cell), stored.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

std::string expert_identity(const fs::path& folder, const std::string& name) {
  if (name == kModelFile) return fs::exists(folder / name) ? sha256_hex(read_file(folder / name)) : "";
  if (name.empty() || !fs::exists(folder / "library.json")) return "";
  const auto opened = library::Library::open(folder);
  if (opened.contains(name)) return opened.info(name).identity;
  const auto router = folder / "routers" / name / "router.safetensors";
  return fs::exists(router) ? sha256_hex(read_file(router)) : "";
}

std::string shell_text(const Arguments& arguments) {
  std::string out = "quiver";
  for (const auto& argument : arguments) out += " " + quoted(argument);
  return out;
}

}  // namespace quiver::recipes
