// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "osd/ops/client_op.h"

namespace lunar::osd {

// Ops whose sender has a newer map than this server, until this server has it too.
// Loop-bound. Owns the ops; shares their connections until erase().
class MapWaiters {
 public:
  // An op that waited, and the connection that brought it.
  struct Waiter {
    msgr::ConnectionRef connection;
    ClientOpRef op;
  };

  // Waits for the epoch that the op names.
  void add(msgr::Connection& connection, ClientOpRef op) {
    waiters_.push_back({connection.shared_from_this(), std::move(op)});
    ++counts_[&connection];
    ++of_entity_[connection.peer().entity];
  }
  // Takes out those that wait for this epoch or an older one, in the order in which they came.
  std::deque<Waiter> take_until(Epoch epoch);
  // Takes out those that arrived at `limit` or before.
  std::deque<Waiter> take_arrived_until(std::chrono::steady_clock::time_point limit);
  // The connection is gone, and what it brought with it.
  void erase(const msgr::Connection& connection);
  // Takes out the op of this connection with this tid; null if none waits.
  ClientOpRef take(const msgr::Connection& connection, Tid tid);

  // Whether one more op of this connection may wait. At most `max_of_one` wait of a connection and
  // `max` of all; an entity has no more of them than there is room left for others.
  bool has_room(const msgr::Connection& connection, std::size_t max, std::size_t max_of_one) const;
  std::size_t size() const noexcept { return waiters_.size(); }

 private:
  template <typename Predicate>
  std::deque<Waiter> take_if(Predicate&& is_taken);
  void forget(const msgr::Connection& connection, std::size_t count);

  std::deque<Waiter> waiters_;
  std::map<const msgr::Connection*, std::size_t> counts_;      // of waiters_; none is 0
  std::map<std::string, std::size_t, std::less<>> of_entity_;  // as counts_
};

}  // namespace lunar::osd
