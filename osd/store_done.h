// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <system_error>

#include "common/inline_function.h"
#include "common/unique_function.h"

namespace lunar::osd {

// How the calls of a store end: `done` runs exactly once, on the loop of the center that the store
// is bound to, on a later turn than the call (never inside it). No error is success.

// Of reads, writes and zeroings, which are on the path of an IO: never allocates, so it captures at
// most InlineFunction::kInlineBytes.
using DataDone = InlineFunction<void(std::error_code)>;

// Of all other calls.
using StoreDone = UniqueFunction<void(std::error_code)>;

}  // namespace lunar::osd
