// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/failures.h"

#include "quiver/base/strings.h"

namespace quiver::training {

void Failures::add(const std::string& part, const Error& error) {
  progress_.finish();
  if (parts_ == 1) throw;
  progress_.say(error.what());
  failed_.push_back(part);
}

void Failures::refuse(const std::string& where) const {
  QUIVER_CHECK(failed_.empty(), mismatch, where, "{} of {} failed, as said above: {}{}", failed_.size(), parts_,
               join(failed_, ", "), failed_.size() < parts_ ? "; the others are kept" : "");
}

}  // namespace quiver::training
