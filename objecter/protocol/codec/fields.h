// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <vector>

#include "common/bytes.h"
#include "common/uuid.h"
#include "msgr/address.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/types.h"

namespace lunar::objecter {

// Fields that several codecs of objecter/protocol/ share. What is read badly makes the reader's
// ok() false. Pure.
Uuid get_uuid(ByteReader& r) noexcept;
bool get_flag(ByteReader& r) noexcept;  // one byte, 0 or 1
OsdErrc get_errc(ByteReader& r) noexcept;
// One byte of count (at most OsdInfo::kMaxAddresses), then family, 16 bytes, port each.
void put_addresses(ByteWriter& w, const std::vector<msgr::Address>& addresses);
std::vector<msgr::Address> get_addresses(ByteReader& r);
// One byte; 0 is none.
void put_store_kind(ByteWriter& w, std::optional<StoreKind> kind);
std::optional<StoreKind> get_store_kind(ByteReader& r) noexcept;

}  // namespace lunar::objecter
