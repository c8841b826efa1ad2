// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
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
  }
  // Takes out those that wait for this epoch or an older one, in the order in which they came.
  std::deque<Waiter> take_until(Epoch epoch);
  // Takes out those that arrived at `limit` or before.
  std::deque<Waiter> take_arrived_until(std::chrono::steady_clock::time_point limit);
  // The connection is gone, and what it brought with it.
  void erase(const msgr::Connection& connection);
  // Takes out the op of this connection with this tid; null if none waits.
  ClientOpRef take(const msgr::Connection& connection, Tid tid);

  std::size_t size() const noexcept { return waiters_.size(); }
  // Of this connection.
  std::size_t size_of(const msgr::Connection& connection) const noexcept {
    const auto at = counts_.find(&connection);
    return at == counts_.end() ? 0 : at->second;
  }

 private:
  template <typename Predicate>
  std::deque<Waiter> take_if(Predicate&& is_taken);
  void forget_one(const msgr::Connection* connection);

  std::deque<Waiter> waiters_;
  std::map<const msgr::Connection*, std::size_t> counts_;  // of waiters_; none is 0
};

}  // namespace lunar::osd
