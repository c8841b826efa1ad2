// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/bytes.h"
#include "msgr/address.h"

namespace lunar::msgr {

// An address on the wire, docs/protocol.md §3: the family, 16 bytes, the port; Address::kWireBytes.
// Pure.
void put_address(ByteWriter& out, const Address& address);
// What is no address makes the reader's ok() false: another family, or an IPv4 address that is
// longer than four bytes. Family 0 is an unset address if it may be one.
Address get_address(ByteReader& in, bool may_be_unset) noexcept;

}  // namespace lunar::msgr
