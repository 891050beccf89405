// SPDX-License-Identifier: Apache-2.0
// Derived data of a library that cannot be written: a temporary folder, made when it is first needed, that goes with
// the object. Thread-safe.
#pragma once

#include <mutex>

#include "quiver/base/files.h"

namespace quiver::library {

class DerivedBeside {
 public:
  DerivedBeside() = default;
  ~DerivedBeside();
  DerivedBeside(const DerivedBeside&) = delete;
  DerivedBeside& operator=(const DerivedBeside&) = delete;

  /// The folder, made where there is none yet. Throws Error{io}.
  fs::path folder();
  /// The folder; empty where nothing has needed it.
  fs::path folder_if_used() const;
  /// True once, after the folder was made.
  bool first_asked_since_used();

 private:
  mutable std::mutex mutex_;
  fs::path folder_;
  bool told_ = false;
};

}  // namespace quiver::library
