// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "objecter/protocol/osd_op.h"

namespace lunar::objecter {

// What both ends call a step in their dumps and logs, for people: "write", "cmpext". "unknown" for
// a number that is none of OpCode's. Never null, never freed. Pure.
const char* name_of(OpCode code) noexcept;

}  // namespace lunar::objecter
