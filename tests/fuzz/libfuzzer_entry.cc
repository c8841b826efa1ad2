// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/fuzz/fuzz.h"

// In place of fuzz_main.cc where the compiler has libFuzzer: NAME_libfuzzer [CORPUS-FOLDER].
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  lunar::fuzz::run_one({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
