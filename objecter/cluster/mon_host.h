// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "msgr/address.h"
#include "objecter/protocol/types.h"

namespace lunar::objecter {

// The value of option mon_host: addresses of any servers of the cluster, from which a client and a
// server find the map authority. They are separated by commas, blanks or tabs, each is
// ADDRESS:PORT as msgr::Address reads it, and their order is the order in which they are tried.
// An empty value is an empty list, not an error: whoever needs a server says what is missing.
//
// Errors, with a sentence that names the option and the word: what Address::parse() says, and
// OsdErrc::kInvalid for an address without a port.
// Pure.
Outcome<std::vector<msgr::Address>> parse_mon_host(std::string_view value);

// The value of option map_authority: the OSD that has to be the map authority, as in osd.0. Empty:
// none is named. Errors: kInvalid, with a sentence.
// Pure.
Outcome<std::optional<OsdId>> parse_map_authority(std::string_view value);

}  // namespace lunar::objecter
