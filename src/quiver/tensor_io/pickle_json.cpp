// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/tensor_io/pickle.h"

namespace quiver::tensor_io {
namespace {

using nlohmann::json;
using Kind = PickleValue::Kind;

json list_of(const PickleValue& value) {
  auto out = json::array();
  for (const auto* item : value.items) out.push_back(pickle_to_json(*item));
  return out;
}

json dictionary_of(const PickleValue& value) {
  auto out = json::object();
  for (std::size_t i = 0; i + 1 < value.items.size(); i += 2) {
    const auto& key = *value.items[i];
    out[key.kind == Kind::text ? key.text : pickle_to_json(key).dump()] = pickle_to_json(*value.items[i + 1]);
  }
  return out;
}

/// Its attributes; of one made from arguments (an enumeration's member), the arguments.
json object_of(const PickleValue& value) {
  auto out = json::object();
  if (!value.items.empty()) {
    const auto inner = pickle_to_json(*value.items[0]);
    if (inner.is_object()) {
      out = inner;
    } else {
      out["arguments"] = inner;
    }
  }
  out["class"] = value.text;
  return out;
}

}  // namespace

json pickle_to_json(const PickleValue& value) {
  switch (value.kind) {
    case Kind::none:
      return nullptr;
    case Kind::boolean:
      return value.integer != 0;
    case Kind::integer:
      return value.integer;
    case Kind::real:
      return value.real;
    case Kind::text:
    case Kind::name:
      return value.text;
    case Kind::bytes:
      return fmt::format("{} bytes", value.text.size());
    case Kind::list:
    case Kind::tuple:
    case Kind::set:
      return list_of(value);
    case Kind::dictionary:
      return dictionary_of(value);
    case Kind::object:
      return object_of(value);
    case Kind::tensor:
    case Kind::storage:
      break;
  }
  std::vector<std::string> sizes;
  for (const auto size : value.tensor.sizes()) sizes.push_back(std::to_string(size));
  return fmt::format("tensor [{}]", join(sizes, ", "));
}

}  // namespace quiver::tensor_io
