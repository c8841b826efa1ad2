// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <vector>

#include "common/bytes.h"

namespace lunar::fuzz {

// What a fuzzer defines; fuzz_main.cc does the rest. Single-threaded.

// Valid inputs to begin with: inputs similar to them get further than noise.
std::vector<std::vector<std::byte>> seeds();
// One input, of any kind. Aborts (LUNAR_CHECK, a sanitizer) if what it tests misbehaves.
void run_one(ConstBytes input);

}  // namespace lunar::fuzz
