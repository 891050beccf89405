// SPDX-License-Identifier: Apache-2.0
// This program, run again as another process.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace quiver::recipes {

struct ChildOutcome {
  int status = 0;     ///< of its exit; 128 + the signal that ended it
  std::string error;  ///< the last line of its standard error
};

/// Runs this very program (as it was started: it may have been built anew since) with `arguments`; where /proc is not
/// there, `quiver` on the PATH. Its standard error goes to ours as it comes, each line of its standard output to
/// `on_line`. The child dies with this process. Throws Error{io}; what on_line throws passes after the child was ended.
ChildOutcome run_program(const std::vector<std::string>& arguments,
                         const std::function<void(const std::string& line)>& on_line);

}  // namespace quiver::recipes
