// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include "bstore_plugin/gateway_session.h"
#include "common/result.h"

namespace lunar::bstore_plugin {

// The session that these options name, made if it is the first. A sentence if it cannot be, or if
// overrides differ from those it was made with. On tgtd's thread.
Outcome<GatewaySession*> find_or_create_session(const BsOptions& options, const lunar_host& host);

// Runs `tgtd -V` of the process we are in and compares: there is no ABI version to check, and
// another version's structs would corrupt memory. A sentence on a mismatch.
Outcome<void> check_tgt_version(const std::string& built_for);

}  // namespace lunar::bstore_plugin
