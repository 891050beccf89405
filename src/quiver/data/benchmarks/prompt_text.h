// SPDX-License-Identifier: Apache-2.0
// What T5's preprocessors do to texts before they stand in a prompt, to the byte. Pure functions on UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quiver::data {

/// A space on both sides of every character that is no letter, mark, number, underscore or white space; then runs of
/// white space become one space, at the ends too.
std::string pad_punctuation(std::string_view text);

/// `<br>` becomes a space; `<b>` and `</b>` go.
std::string strip_markup(std::string_view text);

/// ReCoRD's highlights as sentences: "\n@highlight\n" becomes a space after . ? ! " ' and ". " after anything else.
std::string join_highlights(std::string_view passage);

/// "<mark> span <mark>" in place of the span that begins word `index` (from 0; words are parted by single white space).
/// The text as it is where the span is not there.
std::string mark_span(std::string_view text, std::string_view span, std::size_t index, char mark);

}  // namespace quiver::data
