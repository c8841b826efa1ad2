// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/cm_awaited.h"

#include <utility>

#include "common/check.h"

namespace lunar::msgr::rdma {

void CmAwaited::add(const CmTickets& tickets, std::shared_ptr<CmWaiter> waiter) {
  const MutexLock lock(mutex_);
  const bool is_new = entries_.emplace(tickets.own, Entry{std::move(waiter), tickets}).second;
  LUNAR_CHECK(is_new, "a ticket is given twice");
}

std::optional<CmAwaited::Entry> CmAwaited::take(const CmTicket& shown) {
  const MutexLock lock(mutex_);
  const auto found = entries_.find(shown);
  if (found == entries_.end()) return std::nullopt;
  Entry entry = std::move(found->second);
  entries_.erase(found);
  return entry;
}

void CmAwaited::remove(const CmTicket& own) {
  const auto removed = take(own);  // the waiter may be destroyed, without the lock
}

}  // namespace lunar::msgr::rdma
