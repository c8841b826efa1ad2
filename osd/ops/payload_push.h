// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>

#include "msgr/connection.h"
#include "osd/ops/client_op.h"
#include "osd/ops/one_sided_counters.h"

namespace lunar::osd {

// What was written into a client's memory. A value.
struct Push {
  uint64_t link_generation = 0;  // only a reply on this link may say so; 0: nothing was
  std::optional<uint32_t> crc;   // of it
};

// Begins to move the result of a READ to where its delivery descriptor says, by RDMA WRITE;
// whatever is sent on the same connection afterwards arrives after it. The WRITEs share the result
// until they are over. Nothing if that cannot be: then the data goes with the reply. Loop-bound.
Push push_payload(OneSidedCounters& counters, msgr::RemoteMemory& memory, const ClientOp& op,
                  const OpResultRef& result);

}  // namespace lunar::osd
