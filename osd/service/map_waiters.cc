// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/service/map_waiters.h"

#include <algorithm>

namespace lunar::osd {

std::deque<MapWaiters::Waiter> MapWaiters::take_until(Epoch epoch) {
  std::deque<Waiter> taken;
  for (Waiter& waiter : std::exchange(waiters_, {})) {
    auto& into = waiter.op->header.epoch > epoch ? waiters_ : taken;
    into.push_back(std::move(waiter));
  }
  return taken;
}

std::deque<MapWaiters::Waiter> MapWaiters::take_arrived_until(
    std::chrono::steady_clock::time_point limit) {
  std::deque<Waiter> taken;
  for (Waiter& waiter : std::exchange(waiters_, {})) {
    auto& into = waiter.op->arrived > limit ? waiters_ : taken;
    into.push_back(std::move(waiter));
  }
  return taken;
}

void MapWaiters::erase(const msgr::Connection& connection) {
  std::erase_if(waiters_,
                [&](const Waiter& waiter) { return waiter.connection.get() == &connection; });
}

ClientOpRef MapWaiters::take(const msgr::Connection& connection, Tid tid) {
  const auto at = std::find_if(waiters_.begin(), waiters_.end(), [&](const Waiter& waiter) {
    return waiter.connection.get() == &connection && waiter.op->header.tid == tid;
  });
  if (at == waiters_.end()) return nullptr;
  ClientOpRef op = std::move(at->op);
  waiters_.erase(at);
  return op;
}

}  // namespace lunar::osd
