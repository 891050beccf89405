// SPDX-License-Identifier: Apache-2.0
// Untrusted text made safe to show, in HTML and in a terminal, and numbers as a report shows them.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quiver::evaluation {

/// Valid UTF-8 without control characters: line breaks become ⏎, tabs ⇥, other control characters and bytes that are
/// not UTF-8 become \xNN. Direction overrides (U+202A to U+202E, U+2066 to U+2069) become \uNNNN, since they reorder
/// what stands around them.
std::string visible_text(std::string_view text);
/// The same with spaces at both ends shown as ␣, for tokens; an empty token is ∅.
std::string visible_token(std::string_view token);
/// visible_text with & < > " ' escaped, fit for HTML content and quoted attributes.
std::string escape_html(std::string_view text);
/// At most `columns` code points of a text, the last one … where it was cut.
std::string shorten(std::string_view text, std::size_t columns);

/// `0.8423` as `84.2` (a share, in percent, without the sign); `–` where not finite.
std::string format_percent(double share);
/// Three or four significant digits: `12.34`, `0.0123`, `1234`; `–` where not finite.
std::string format_number(double value);

}  // namespace quiver::evaluation
