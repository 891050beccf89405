// SPDX-License-Identifier: Apache-2.0
// An expert read from outside, before it is in a library.
#pragma once

#include <string>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/library/library.h"

namespace quiver::library {

struct ImportedExpert {
  ExpertInfo info;  ///< fingerprint and identity are empty: the library that takes it fills them in
  adapter::Adapter adapter;
  bool deleted = false;            ///< its library had marked it as deleted; it is not added
  std::vector<std::string> notes;  ///< what was left out, one line each
};

}  // namespace quiver::library
