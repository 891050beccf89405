// SPDX-License-Identifier: Apache-2.0
// The report page's style sheet and script: fixed texts without anything of the report in them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quiver::evaluation {

/// Series colours .c0 to .c8 are told apart with most kinds of colour blindness; .c9 is grey, for all others.
inline constexpr std::size_t kSeriesColours = 9;
/// `c3`: the class of a series by its place, `c9` from the tenth on.
std::string series_class(std::size_t place);

std::string_view report_style_sheet();
/// Shows all experts of a trace's cell on hover, tap or focus. It writes text content only.
std::string_view report_script();

}  // namespace quiver::evaluation
