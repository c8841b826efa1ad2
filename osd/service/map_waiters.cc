// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/service/map_waiters.h"

#include <algorithm>

namespace lunar::osd {

template <typename Predicate>
std::deque<MapWaiters::Waiter> MapWaiters::take_if(Predicate&& is_taken) {
  std::deque<Waiter> taken;
  for (Waiter& waiter : std::exchange(waiters_, {})) {
    if (is_taken(waiter)) {
      forget(*waiter.connection, 1);
      taken.push_back(std::move(waiter));
    } else {
      waiters_.push_back(std::move(waiter));
    }
  }
  return taken;
}

void MapWaiters::forget(const msgr::Connection& connection, std::size_t count) {
  const auto of_one = counts_.find(&connection);
  if ((of_one->second -= count) == 0) counts_.erase(of_one);
  const auto of_entity = of_entity_.find(connection.peer().entity);
  if ((of_entity->second -= count) == 0) of_entity_.erase(of_entity);
}

bool MapWaiters::has_room(const msgr::Connection& connection, std::size_t max,
                          std::size_t max_of_one) const {
  const auto of_one = counts_.find(&connection);
  if (of_one != counts_.end() && of_one->second >= max_of_one) return false;
  const auto of_entity = of_entity_.find(connection.peer().entity);
  return (of_entity == of_entity_.end() ? 0 : of_entity->second) + waiters_.size() < max;
}

std::deque<MapWaiters::Waiter> MapWaiters::take_until(Epoch epoch) {
  return take_if([epoch](const Waiter& waiter) { return waiter.op->header.epoch <= epoch; });
}

std::deque<MapWaiters::Waiter> MapWaiters::take_arrived_until(
    std::chrono::steady_clock::time_point limit) {
  return take_if([limit](const Waiter& waiter) { return waiter.op->arrived <= limit; });
}

void MapWaiters::erase(const msgr::Connection& connection) {
  const auto of_one = counts_.find(&connection);
  if (of_one == counts_.end()) return;
  forget(connection, of_one->second);
  std::erase_if(waiters_,
                [&](const Waiter& waiter) { return waiter.connection.get() == &connection; });
}

ClientOpRef MapWaiters::take(const msgr::Connection& connection, Tid tid) {
  const auto at = std::find_if(waiters_.begin(), waiters_.end(), [&](const Waiter& waiter) {
    return waiter.connection.get() == &connection && waiter.op->header.tid == tid;
  });
  if (at == waiters_.end()) return nullptr;
  ClientOpRef op = std::move(at->op);
  forget(connection, 1);
  waiters_.erase(at);
  return op;
}

}  // namespace lunar::osd
