// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace lunar {

// A text of any origin as a terminal may show it: names, and sentences of servers, can have
// whatever a peer put in, and a control sequence would move the cursor, change what was there or
// answer in the operator's place. Control characters become visible (ESC is ^[, DEL is ^?), but for
// line feeds and tabs; what is no UTF-8, the controls of Unicode (C1) and those that change the
// direction of writing become '?'. All else stays as it is, so that JSON stays JSON. Pure.
std::string visible_text(std::string_view text);

// The only way of a tool to its terminal (tools/dev/check_one_place.py): as fprintf(3), visible.
[[gnu::format(printf, 2, 3)]] void print_visible(std::FILE* to, const char* format, ...);

}  // namespace lunar
