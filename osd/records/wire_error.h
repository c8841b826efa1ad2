// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <system_error>

#include "objecter/protocol/osd_op.h"

namespace lunar::osd {

using objecter::OsdErrc;

// What a store's error is on the wire: its own kind if it has one, else the medium's fault.
OsdErrc wire_error(std::error_code error) noexcept;

// Whether an ObjectData::write() that ended so has left the object as it was.
bool has_changed_nothing(std::error_code error) noexcept;

}  // namespace lunar::osd
