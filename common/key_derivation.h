// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string_view>

#include "common/keyring.h"

namespace lunar {

// Another key out of a key: HKDF-SHA256 (RFC 5869) without a salt, `info` naming what it is for.
// Keyring::kKeyBytes long. Who has it learns nothing of the key, nor of those with another info.
// Pure.
Secret derive_key(const Secret& key, std::string_view info);

}  // namespace lunar
