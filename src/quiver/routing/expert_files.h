// SPDX-License-Identifier: Apache-2.0
// Derived data of single experts, a file each, so that an expert added later touches nothing of the others.
//
//   derived/KIND/EXPERT-IDENTITY.safetensors    metadata "made_with": the options, free text that is only compared;
//                                               "version": of the method, 1 where it is missing
//
// A file is kept under the identity that the expert had when the bytes were loaded from which it was computed, not when
// it is written: an expert replaced meanwhile gets nothing of the old one. A file of an earlier version of its method
// is as if it were not there.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quiver/library/library.h"
#include "quiver/routing/router.h"
#include "quiver/tensor_io/tensor_source.h"

namespace quiver::routing {

struct DerivedKind {
  std::string name;  ///< of its folder in derived/
  int version = 1;   ///< raised when the method gives other results: what earlier ones left is computed again
};

/// SHA-256 of token ids that something is computed from: a part of its made_with, so that other rows give another file.
std::string hash_of(const std::vector<std::vector<std::int32_t>>& rows);
/// made_with of what is known by prompts alone.
std::string made_from(const std::vector<std::vector<std::int32_t>>& prompts);

/// Writes the file of one expert in the place of its older ones.
void write_expert_file(const library::Library& library, const DerivedKind& kind, const std::string& expert,
                       const std::string& identity, const std::map<std::string, at::Tensor>& tensors,
                       const std::string& made_with);

/// Those of the experts of a bank, by their numbers there. Refers to the inputs.
class ExpertFiles {
 public:
  /// Throws Error{usage} where the inputs have no library.
  ExpertFiles(const RouterInputs& inputs, DerivedKind kind);

  std::size_t size() const { return inputs_.bank->names().size(); }
  const std::string& name(std::size_t expert) const { return inputs_.bank->names()[expert]; }
  /// The file that is kept, for messages.
  std::string place(std::size_t expert) const;
  /// Opened; null where there is none of this version or, where options are given, none that was made with them.
  std::shared_ptr<tensor_io::TensorSource> open(std::size_t expert,
                                                const std::optional<std::string>& made_with = {}) const;
  /// The experts that `open` finds nothing of.
  std::vector<std::size_t> missing(const std::optional<std::string>& made_with = {}) const;
  void write(std::size_t expert, const std::map<std::string, at::Tensor>& tensors, const std::string& made_with) const;

 private:
  std::optional<fs::path> kept(std::size_t expert) const;

  const RouterInputs& inputs_;
  DerivedKind kind_;
};

}  // namespace quiver::routing
