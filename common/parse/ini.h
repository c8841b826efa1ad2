// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace lunar {

// One "name = value" of a file in ceph.conf grammar.
struct IniEntry {
  std::string section;  // "global" before the first header
  std::string name;     // as written
  std::string value;    // without quotes, comments and continuation
  int line = 0;         // where it starts
};

// Comments start with ; or # outside quotes; \ takes the next character as it is, at the end of a
// line it continues it; a value in "…" or '…' keeps spaces and comment signs. Errors name origin
// and line, and never quote a value. Thread-safe.
Outcome<std::vector<IniEntry>> parse_ini(std::string_view text, const std::string& origin);

}  // namespace lunar
