// SPDX-License-Identifier: Apache-2.0
// A kind of adapter: how it starts, what it stores beyond the parts that are applied, how these are worked out from it,
// and its files where PEFT has the kind. Each kind is a file of kinds/ and a line of kinds/table.cpp; training,
// counting, checkpoints, identities and our own file format follow from what stands here.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "quiver/adapter/kinds.h"
#include "quiver/adapter/peft_files.h"
#include "quiver/adapter/traits.h"
#include "quiver/base/options.h"

namespace quiver::adapter {

/// A tensor that parts of an adapter are worked out from.
struct StoredKey {
  const char* key;    ///< in our files: the end of it after a site's name, or of the adapter as a whole all of it
  const char* label;  ///< in the adapter's identity; never changed
  std::int64_t dims;
  bool of_site = true;
  bool trained = true;
  bool kept = true;            ///< false: it serves training, and files hold what is worked out from it
  bool of_bottleneck = false;  ///< it stands in for the maps of the site's bottleneck
};

/// A new adapter of a model.
struct NewAdapter {
  const model::Model& model;
  const LoraOptions& lora;
  const KindOptions& options;
  std::uint64_t seed;
};

/// An adapter on its way to what is applied.
struct WorkedOut {
  const Adapter& given;
  const std::vector<model::Site>& sites;  ///< of the base model; may be empty for kinds that act at none
  const std::string& name;                ///< of the expert, for errors

  /// Calls visit(site, tensors) where `key` is stored. Throws Error{mismatch} where the base model has no such site.
  void at_sites(const std::string& key,
                const std::function<void(const model::Site&, const std::map<std::string, at::Tensor>&)>& visit) const;
};

/// The kind's own files of PEFT's.
struct PeftFiles {
  const char* type;  ///< peft_type
  Adapter (*read)(Tensors tensors, const nlohmann::json& config, const std::string& where);
  /// True where PEFT would compute the same with what `write` gives; asked of adapters that are nothing else.
  bool (*complete)(const Adapter& adapter);
  AdapterFiles (*write)(const Adapter& adapter, const std::string& base_model);
  const char* reads_too = "";  ///< another peft_type whose files say the same
};

struct Kind {
  const char* name;
  const char* summary;
  Traits traits;                     ///< of what is applied
  const char* place = "";            ///< what one adapter has of one kind alone; empty: it goes with every other
  const char* contains = "";         ///< a kind whose parts it also holds
  std::vector<const char*> options;  ///< names of the LoraOptions and KindOptions that it shares with other kinds
  bool (*holds)(const Adapter& adapter);
  void (*make)(const NewAdapter& in, Adapter& out);
  std::vector<StoredKey> stored = {};
  /// Describes the options that it alone reads: fields of options.of<T>() with a struct T of its own.
  void (*describe)(KindOptions& options, OptionSet& set) = nullptr;
  /// Adds to `out` what is worked out from what is stored. Differentiable.
  void (*work_out)(const WorkedOut& in, Adapter& out) = nullptr;
  std::optional<PeftFiles> peft = {};
};

/// Every kind.
const std::vector<Kind>& kind_table();
/// Throws Error{usage} with the nearest name.
const Kind& kind_of_name(const std::string& name);
/// Of a stored tensor. Throws Error{format}.
const Kind& kind_of_key(const std::string& key);
const StoredKey& stored_key(const std::string& key);

}  // namespace quiver::adapter
