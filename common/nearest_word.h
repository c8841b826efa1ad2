// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <span>
#include <string_view>

namespace lunar {

// That of `words` which looks most like `wanted`, by the edits between them (Levenshtein), and the
// first of several; empty if none is near: more edits than a third of the letters, or than two of a
// short word. For "did you mean" in a sentence. A view of one of `words`; case counts. Pure.
std::string_view nearest_word(std::string_view wanted, std::span<const std::string_view> words);

}  // namespace lunar
