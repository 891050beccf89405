// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/answer.h"

namespace quiver::serving {

std::string_view finish_name(Finish finish) {
  switch (finish) {
    case Finish::running:
      return "running";
    case Finish::stop_token:
      return "stop_token";
    case Finish::length:
      return "length";
    case Finish::context:
      return "context";
    case Finish::cancelled:
      return "cancelled";
    case Finish::error:
      return "error";
  }
  return "";
}

const std::vector<std::int32_t>& Answer::checked() const {
  if (error) std::rethrow_exception(error);
  return ids;
}

}  // namespace quiver::serving
