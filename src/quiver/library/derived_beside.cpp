// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/derived_beside.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "quiver/base/error.h"

namespace quiver::library {

DerivedBeside::~DerivedBeside() {
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

fs::path DerivedBeside::folder() {
  const std::lock_guard lock(mutex_);
  if (!folder_.empty()) return folder_;
  auto pattern = (fs::temp_directory_path() / "quiver-derived-XXXXXX").string();
  QUIVER_CHECK(mkdtemp(pattern.data()) != nullptr, io, pattern, "cannot create a temporary folder: {}",
               std::strerror(errno));
  return folder_ = pattern;
}

bool DerivedBeside::first_asked_since_used() {
  const std::lock_guard lock(mutex_);
  return !folder_.empty() && !std::exchange(told_, true);
}

fs::path DerivedBeside::folder_if_used() const {
  const std::lock_guard lock(mutex_);
  return folder_;
}

}  // namespace quiver::library
