// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/service/map_waiters.h"

#include <algorithm>

namespace lunar::osd {

template <typename Predicate>
std::deque<MapWaiters::Waiter> MapWaiters::take_if(Predicate&& is_taken) {
  std::deque<Waiter> taken;
  for (Waiter& waiter : std::exchange(waiters_, {})) {
    if (is_taken(waiter)) {
      forget_one(waiter.connection.get());
      taken.push_back(std::move(waiter));
    } else {
      waiters_.push_back(std::move(waiter));
    }
  }
  return taken;
}

void MapWaiters::forget_one(const msgr::Connection* connection) {
  const auto count = counts_.find(connection);
  if (--count->second == 0) counts_.erase(count);
}

std::deque<MapWaiters::Waiter> MapWaiters::take_until(Epoch epoch) {
  return take_if([epoch](const Waiter& waiter) { return waiter.op->header.epoch <= epoch; });
}

std::deque<MapWaiters::Waiter> MapWaiters::take_arrived_until(
    std::chrono::steady_clock::time_point limit) {
  return take_if([limit](const Waiter& waiter) { return waiter.op->arrived <= limit; });
}

void MapWaiters::erase(const msgr::Connection& connection) {
  if (counts_.erase(&connection) == 0) return;
  std::erase_if(waiters_,
                [&](const Waiter& waiter) { return waiter.connection.get() == &connection; });
}

ClientOpRef MapWaiters::take(const msgr::Connection& connection, Tid tid) {
  const auto at = std::find_if(waiters_.begin(), waiters_.end(), [&](const Waiter& waiter) {
    return waiter.connection.get() == &connection && waiter.op->header.tid == tid;
  });
  if (at == waiters_.end()) return nullptr;
  ClientOpRef op = std::move(at->op);
  forget_one(&connection);
  waiters_.erase(at);
  return op;
}

}  // namespace lunar::osd
