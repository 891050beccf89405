// SPDX-License-Identifier: Apache-2.0
// An expert read from outside, before it is in a library.
#pragma once

#include <string>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/library/carried.h"

namespace quiver::library {

struct ImportedExpert {
  ExpertInfo info;  ///< fingerprint and identity: what an expert.json beside it says; the library that takes it fills
                    ///< in its own
  adapter::Adapter adapter;
  Carried carried = {};            ///< derived data that holds for info's fingerprint and identity
  bool deleted = false;            ///< its library had marked it as deleted; it is not added
  std::vector<std::string> notes;  ///< what was left out, one line each
};

}  // namespace quiver::library
