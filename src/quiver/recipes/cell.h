// SPDX-License-Identifier: Apache-2.0
// A cell of a recipe's grid: one result of one command, kept under a name made of all that it depends on.
//
//   OUTPUT/cells/KEY.json   {"format": 1, "label", "command", "depends", "made": identity of the expert it trained,
//                            "seconds", "lines": [what the verb printed]}
//
// KEY is SHA-256 over `depends`: the verb and its options, the versions of its methods (versions.h), the identities of
// the experts it uses, the hashes of its task files, the program's version, and the same of each preparation that it
// rests on. Folders stand in it as {data} and {output}, so that both may move.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "quiver/recipes/recipe.h"

namespace quiver::recipes {

struct Cell {
  std::string label;                              ///< what people read
  Arguments command;                              ///< verb and options, with {data} and {output}
  std::vector<std::string> tasks;                 ///< given as --task {data}/TASK.jsonl
  std::map<std::string, std::string> identities;  ///< of the experts it uses
  std::string library, makes;                     ///< of train and prepare: what folder gets what; else ""
  std::vector<Cell> after;                        ///< the preparations that its result rests on
  bool ready = true;                              ///< false: what comes before it has no result yet

  const std::string& verb() const { return command[0]; }
};

struct CellResult {
  std::vector<nlohmann::json> lines;
  double seconds = 0;
};

class CellStore {
 public:
  CellStore(fs::path data, fs::path output) : data_(std::move(data)), output_(std::move(output)) {}

  const fs::path& output() const { return output_; }
  fs::path task_file(const std::string& task) const { return data_ / (task + ".jsonl"); }
  /// The name that evaluate gives the task: what its first row says, else the file's.
  std::string task_name(const std::string& task) const;
  /// A path or argument with {data} and {output} filled in.
  std::string filled(const std::string& text) const;
  /// The command as it is run, its tasks those of `tasks`.
  Arguments command(const Cell& cell, const std::vector<std::string>& tasks) const;

  /// Task files are hashed once. Throws Error{not_found} where one is missing.
  std::string key(const Cell& cell);
  /// Its result; nullopt where there is none, or where the library does not hold the expert that it made.
  std::optional<CellResult> find(const Cell& cell);
  void save(const Cell& cell, const CellResult& result);

 private:
  nlohmann::json depends(const Cell& cell);
  std::string made(const Cell& cell) const;
  fs::path file(const Cell& cell) { return output_ / "cells" / (key(cell) + ".json"); }

  fs::path data_, output_;
  std::map<std::string, std::string> hashes_;
};

/// The weights in the folder of a model that was trained whole.
inline constexpr const char* kModelFile = "model.safetensors";
/// expert.json's identity, or the hash of a trained router's tensors, or kModelFile's; "" where the folder has none.
std::string expert_identity(const fs::path& folder, const std::string& name);

/// A command line that a shell reads as these arguments, after `quiver`.
std::string shell_text(const Arguments& arguments);

}  // namespace quiver::recipes
