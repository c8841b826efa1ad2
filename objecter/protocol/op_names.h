// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "objecter/protocol/osd_op.h"

namespace lunar::objecter {

// For people: what both ends call a step in their dumps and logs.
const char* name_of(OpCode code) noexcept;

}  // namespace lunar::objecter
