// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>

#include "msgr/event_center.h"
#include "msgr/net/link.h"
#include "msgr/rdma/counters.h"
#include "msgr/rdma/memory/receive_queue.h"
#include "msgr/rdma/queue/ledger.h"
#include "msgr/rdma/queue/wr_id.h"
#include "msgr/rdma/rdma_options.h"

namespace lunar::msgr::rdma {

// How the parts of a link end it. Each may be called again and again: the first call counts.
struct LinkFaults {
  // The peer broke a rule, or a resource failed.
  virtual void fail(std::error_code why) = 0;
  // The same, and the QP with it: nothing that is posted from here on arrives.
  virtual void fail_qp(std::error_code why) = 0;
  // The peer has said its farewell: it needs none of ours.
  virtual void peer_left() = 0;

 protected:
  ~LinkFaults() = default;
};

// What the parts of one link share: SendSide, ReceiveSide, ExposedKeys. Made by the link, which
// outlives them. Loop-bound. Borrows everything but the ledger, the counters and the flag.
struct LinkCore {
  EventCenter& center;
  const RdmaOptions& options;
  LinkFaults& faults;
  ReceiveQueue& receives;  // of the SRQ, or the QP's own
  CreditPool* pool;        // of the SRQ; null without one
  LinkCounts counts;
  uint32_t qp_num;
  CreditLedger credits;

  LinkCounters counters{};
  LinkSlot slot{};  // known once the worker has the link; nothing is posted before
  // False once the link is destroyed: what is posted to the loop looks here first.
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

}  // namespace lunar::msgr::rdma
