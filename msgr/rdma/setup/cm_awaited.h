// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "common/mutex.h"
#include "msgr/rdma/link/endpoint_info.h"

namespace lunar::msgr::rdma {

struct CmWaiter;

// The tickets of one connection.
struct CmTickets {
  CmTicket own{};   // that we gave, and the peer shows
  CmTicket peer{};  // that we show
};

// Whom an acceptor waits for: peers that are authenticated, in a handshake that is still under way.
// So there are as many as ms_max_handshakes permits, and nobody else costs a QP. Thread-safe.
// Shares the waiters.
class CmAwaited {
 public:
  struct Entry {
    std::shared_ptr<CmWaiter> waiter;
    CmTickets tickets;
  };
  // From now on the peer may come. REQUIRES: tickets.own is random, and new.
  void add(const CmTickets& tickets, std::shared_ptr<CmWaiter> waiter);
  // Whom this ticket lets in. It does so once: nothing for one that nobody gave, that was used, or
  // whose handshake is over.
  std::optional<Entry> take(const CmTicket& shown);
  // The handshake is over. Does nothing if the ticket was used.
  void remove(const CmTicket& own);

 private:
  Mutex mutex_;
  std::map<CmTicket, Entry> entries_ GUARDED_BY(mutex_);
};

}  // namespace lunar::msgr::rdma
