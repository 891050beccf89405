// SPDX-License-Identifier: Apache-2.0
// A library: a folder of experts over one base model, with derived data that can always be rebuilt.
//
//   library.json                       format version, base model and its fingerprint
//   experts/NAME/adapter_config.json   \ a PEFT adapter that any PEFT user can load
//   experts/NAME/adapter_model.safetensors
//   experts/NAME/expert.json           what is known of the expert
//   derived/KIND-KEY.*                 prototypes, clusters: named by what they were computed from
//   runs/NAME/                         metrics and checkpoints of training
//   removed/                           experts taken out; nothing is deleted for good
//
// Experts appear and disappear in one step (a rename), so readers need no lock and two processes may add at once; a
// lock file orders writers of the same name. What lies in experts/ and is no expert (another program's folders, copies
// by hand) is passed over. A library that may not be written is read as any other: derived data is then kept for as
// long as the object lives, beside it. Objects hold no open files; thread-safe.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/base/files.h"

namespace quiver::library {

/// An expert's expert.json.
struct ExpertInfo {
  std::string name;
  std::vector<std::string> tasks;  ///< what it was trained on
  std::string base_fingerprint;
  std::string identity;  ///< adapter::identity of its factors
  /// Sizes and times of the adapter's files when the identity was computed: while they are the same it is not computed
  /// again.
  std::string files_stamp;
  nlohmann::json training;  ///< options, data and figures of its run; may be null
  nlohmann::json scores;    ///< evaluation results; may be null
  bool finite = false;      ///< all its numbers were found finite when the identity was computed
};

/// An expert as it was at one moment: info.identity is that of these factors.
struct LoadedExpert {
  ExpertInfo info;
  adapter::Adapter adapter;
};

/// A folder in experts/ that is no expert of the library.
struct Stray {
  std::string name;
  std::string what;      ///< what it is, and what to do about it
  bool adapter = false;  ///< it holds an adapter, which somebody may miss
};

class DerivedBeside;

/// Letters, digits, '.', '_' and '-', not starting with a dot, at most 128. Throws Error{usage}.
void check_expert_name(const std::string& name);

class Library {
 public:
  /// Throws Error{not_found} where there is none, Error{format|unsupported} where library.json is not one of ours.
  static Library open(const fs::path& folder);
  /// Opens it, or makes an empty one over the base model. Throws Error{mismatch} as check_base does.
  static Library open_or_create(const fs::path& folder, const std::string& base_model, const std::string& fingerprint,
                                bool allow_other_base = false);

  const fs::path& folder() const { return folder_; }
  const std::string& base_model() const { return base_model_; }
  const std::string& fingerprint() const { return fingerprint_; }

  /// Names, sorted.
  std::vector<std::string> names() const;
  /// What else lies in experts/, by name; hidden folders and files are not looked at.
  std::vector<Stray> strays() const;
  bool contains(const std::string& name) const;
  /// Throws Error{usage} with the nearest name.
  ExpertInfo info(const std::string& name) const;
  /// Of all experts, by name: of those that are there while it reads.
  std::vector<ExpertInfo> infos() const;
  /// Throws Error{mismatch} where its factors are not those expert.json was written for, checked by their hash where a
  /// file's size or time has changed since (verify always does), and Error{format} naming the expert where a number in
  /// it is not finite.
  LoadedExpert load_expert(const std::string& name) const;
  /// The same for several, by all threads, in the order of the names.
  std::vector<LoadedExpert> load_experts(const std::vector<std::string>& names) const;
  /// The same without those that were removed since their names were listed.
  std::vector<LoadedExpert> load_present(const std::vector<std::string>& names) const;
  /// Its adapter alone.
  adapter::Adapter load(const std::string& name) const { return load_expert(name).adapter; }
  fs::path expert_folder(const std::string& name) const;
  fs::path run_folder(const std::string& name) const;

  /// Adds or, with `replace`, replaces in one step. Fills info.identity. Throws Error{usage} where the name is taken,
  /// Error{format} where a number in the adapter is not finite.
  void save(ExpertInfo info, const adapter::Adapter& adapter, bool replace) const;
  /// Says anew what the expert was trained for.
  void set_tasks(const std::string& name, const std::vector<std::string>& tasks) const;
  /// Moves the expert to removed/.
  void remove(const std::string& name) const;
  /// Throws Error{io} saying why, where nothing can be written: for work whose result is to be kept, before it begins.
  void check_writable() const;
  /// Problems found, one line each; empty: every file is whole, holds finite numbers and belongs to this library.
  std::vector<std::string> verify() const;

  /// Derived data of `kind` (which may name a subfolder: prototypes/EXPERT) computed from `key` (a hash of all it
  /// depends on), or nullopt.
  std::optional<fs::path> derived(const std::string& kind, const std::string& key, const std::string& extension) const;
  /// Writes it; other keys of the same kind are dropped. Where the library cannot be written it is kept outside of it,
  /// for derived() of this object and its copies, and `keeps_derived` becomes false.
  void write_derived(const std::string& kind, const std::string& key, const std::string& extension,
                     const std::function<void(const fs::path&)>& write) const;
  /// False once derived data could not be kept.
  bool keeps_derived() const;
  /// True the first time that it is asked after that, so that it is said once.
  bool unkept_to_tell() const;
  /// Hash over the names and identities of the experts, for keys of derived data.
  std::string contents_key(const std::vector<std::string>& names) const;
  /// The same of all that are there.
  std::string contents_key() const;

 private:
  ExpertInfo info_at(const fs::path& place, const std::string& name) const;
  explicit Library(fs::path folder);
  fs::path folder_;
  std::string base_model_, fingerprint_;
  std::shared_ptr<DerivedBeside> beside_;
};

/// Throws Error{mismatch} naming both fingerprints, unless `allow_other_base`.
void check_base(const Library& library, const std::string& model_fingerprint, bool allow_other_base);

}  // namespace quiver::library
