// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string_view>

#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/types.h"

namespace lunar::objecter {

// Pure functions of a pool and a name; the same on every client, server and version (a golden test
// pins them). docs/protocol-osd.md, "Placement".

// Bob Jenkins' 1996 hash of a byte string (lookup2, initial value 0).
uint32_t rjenkins1(ConstBytes bytes) noexcept;

// Object name → hash (rjenkins1, as Ceph's) → PG by stable mod of pg_num.
PgId pg_of_object(const PoolInfo& pool, std::string_view object_name) noexcept;

// PG → OSD by straw2 over all members of the pool. -1 if every weight is zero.
// (Weil et al., CRUSH; straw2: each member draws ln(hash) / weight, the largest wins. Here in
// integers: -log2(hash) to 40 binary places, compared by cross-multiplication.)
OsdId osd_of_pg(const PoolInfo& pool, PgId pg) noexcept;

// As above. The objects of a pool in RADOS are within reach of each member: its PGs are placed over
// those that are up and on a store of that kind, and those of whose store nothing is known; over
// all if there are none. REQUIRES: the pool is of the map.
OsdId osd_of_pg(const OsdMap& map, const PoolInfo& pool, PgId pg) noexcept;

// Whether that server, in the incarnation `sent_to` (0: not known), may be executing what it was
// sent: not if it was started anew or is down, as its RADOS client is fenced before a map says so,
// or its PGs wait for it.
bool may_be_executing(const OsdMap& map, OsdId osd, uint64_t sent_to) noexcept;

// Whether the members have the same PGs of the pool under both maps, each of which has it.
bool is_placed_alike(const OsdMap& a, const OsdMap& b, PoolId pool) noexcept;

}  // namespace lunar::objecter
