// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "objecter/objecter.h"

namespace lunar::objecter {

// LIST, as an op and its answer. Pure.

// Nothing if the PG, the cursor or the limit breaks a rule of docs/protocol-osd.md.
std::optional<ObjectOp> make_list_op(PgId pg, ListScope scope, std::string cursor, uint32_t limit);
// The names of one page, or why there are none.
Result<std::vector<std::string>> object_names_in(const OpReply& reply, uint32_t limit);

}  // namespace lunar::objecter
