// SPDX-License-Identifier: Apache-2.0
// Pickles read as data: what torch.save writes (pickle protocols 2 to 5), without running anything.
//
// A pickle is a program for a stack machine whose opcodes GLOBAL and REDUCE name any Python function and call it. Here
// a fixed list of names has a meaning (pickle_calls.h), none of which calls anything; every other name is refused by
// its name, and so are the opcodes of protocols 0 and 1 that torch.save never writes. Objects of classes whose module
// begins with `mttl.` are read as their attributes.
//
// Bounded: at most 64 MiB, 1,000,000 values, 1,000,000 memo entries and 100 levels; a value may be shared but not hold
// itself; unfolded, the tree takes at most 256 MiB. So whoever walks the tree may recurse and copy.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quiver::tensor_io {

struct PickleValue {
  enum class Kind {
    none,
    boolean,
    integer,
    real,
    text,
    bytes,
    list,
    tuple,
    set,
    dictionary,
    object,
    tensor,
    storage,
    name
  };
  Kind kind = Kind::none;
  std::int64_t integer = 0;  ///< boolean (0 or 1), integer
  double real = 0.0;
  /// text (UTF-8), bytes; of an object its class (`mttl.models.x.Class`); of a name the name (`torch.float32`).
  std::string text;
  /// list, tuple, set: the entries; dictionary: key, value, key, value, ...; object: its state or, where it has none,
  /// the arguments it was made from, if any.
  std::vector<const PickleValue*> items;
  at::Tensor tensor;  ///< a tensor; of a storage, all its elements in one row. Not to be written to

  /// The value of a text key of a dictionary or of an object's state, the last one where there are several; null where
  /// there is none.
  const PickleValue* find(std::string_view key) const;
  bool is_none() const { return kind == Kind::none; }
};

/// "a list", "text", ..., for messages.
const char* kind_name(PickleValue::Kind kind);

/// Owns every value of a pickle.
struct Pickle {
  std::deque<PickleValue> values;
  const PickleValue* root = nullptr;
};

/// The elements of a storage that a pickle refers to by key: one dimension, of that type and size. Throws Error.
using StorageLookup = std::function<at::Tensor(const std::string& key, at::ScalarType dtype, std::int64_t elements)>;

/// Throws Error{format} for bytes that are no sound pickle, Error{unsupported} for names, opcodes and sizes beyond the
/// above.
Pickle parse_pickle(std::span<const std::byte> bytes, const StorageLookup& storages, const std::string& where);

/// The same for the first of several pickles that stand one after another; `taken` becomes the number of its bytes.
Pickle parse_first_pickle(std::span<const std::byte> bytes, const StorageLookup& storages, const std::string& where,
                          std::size_t& taken);

/// As JSON, for keeping what a configuration said: tuples and sets become lists, objects their attributes and `class`,
/// keys that are no text their own JSON as text, names their name; tensors and bytes become a note of their size.
nlohmann::json pickle_to_json(const PickleValue& value);

}  // namespace quiver::tensor_io
