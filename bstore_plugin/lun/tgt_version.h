// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <string>

#include "common/result.h"

namespace lunar::bstore_plugin {

// Runs `tgtd -V` of the process we are in and compares: tgt has no ABI version to check, and
// another version's structs would corrupt memory. Blocks until that has ended. An Error on a
// mismatch.
Outcome<void> check_tgt_version(const std::string& built_for);

}  // namespace lunar::bstore_plugin
