// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <string>

#include "osd/ops/client_op.h"

namespace lunar::osd {

// Whose LIST is next. A LIST reads all folders of a pool, so that one entity's without end would be
// in the way of everybody's IO: each entity has one that executes at a time, the entities take
// turns, and none counts for the ops that execute. Not thread-safe. Owns what waits.
class ListTurns {
 public:
  struct Limits {
    std::size_t max_executing = 4;
    std::size_t max_waiting = 4096;           // above it clients are told kBusy
    std::size_t max_waiting_of_entity = 256;  // … of one entity
  };
  explicit ListTurns(const Limits& limits) : limits_(limits) {}

  // False if too many wait already, in all or of this entity.
  bool has_room(const ClientOp& op) const;
  // REQUIRES: has_room().
  void add(ClientOpRef op);
  // One that may begin now, and executes until on_ended(); null if there is none.
  ClientOpRef take_next();
  void on_ended(const ClientOp& op);
  // False if it does not wait.
  bool take_out(const ClientOpRef& op);
  // Whatever waits, whether it may begin or not.
  std::deque<ClientOpRef> take_all();

 private:
  struct ListingEntity {
    std::deque<ClientOpRef> waiting;
    bool is_executing = false;
  };
  using Entities = std::map<std::string, ListingEntity, std::less<>>;

  void forget_if_idle(Entities::iterator at);

  const Limits limits_;
  Entities entities_;              // none is idle
  std::deque<std::string> turns_;  // those with something that waits, the next one first
  std::size_t waiting_ = 0;        // of all
  std::size_t executing_ = 0;
};

}  // namespace lunar::osd
