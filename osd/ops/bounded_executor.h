// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "common/unique_function.h"
#include "osd/ops/list_turns.h"
#include "osd/ops/op_executor.h"

namespace lunar::osd {

// An OpExecutor that executes at most so many ops at once; the others wait, those of a session in
// the order in which they came, and the sessions take turns. LISTs have turns of their own
// (ListTurns). Removes objects for the server itself, too, in the order of the clients' ops on
// them. Loop-bound. Owns what waits; borrows what the environment names.
class BoundedExecutor {
 public:
  struct Limits {
    std::size_t max_executing = 1024;
    // Above it clients are told kBusy; an entity has no more than there is room left for others.
    std::size_t max_waiting = 65536;
    std::size_t max_waiting_of_one = 4096;  // … of one session
    ListTurns::Limits lists{};
  };
  // `on_done` runs once per submitted op, later, unless take_back() or stop() took it out.
  BoundedExecutor(const OpEnvironment& environment, const Limits& limits,
                  OpExecutor::OnDone on_done);

  // False if too many ops wait already, in all, of its entity or of its session.
  bool has_room(const ClientOp& op) const;
  // REQUIRES: has_room(), stop() was not called, and check_op() found nothing wrong with the op.
  void submit(ClientOpRef op);
  // Takes those of the ops out that have not begun, all of them before another op begins in their
  // place. Returns them: nothing of them will happen.
  std::vector<ClientOpRef> take_back(const std::vector<ClientOpRef>& ops);
  // Deletes an object when the ops on it that came before have ended. `done` runs once, later,
  // whether or not there was anything to delete.
  void remove_object(const ObjectId& id, bool is_metadata, UniqueFunction<void()> done);
  // Pool buffers were given back: ops that waited for some may begin.
  void buffers_freed() { executor_.buffers_freed(); }

  // Gives back what waits; nothing is begun any more.
  std::deque<ClientOpRef> stop();
  // `done` runs once, later, when nothing executes. REQUIRES: stop() was called.
  void drain(UniqueFunction<void()> done) { executor_.drain(std::move(done)); }

 private:
  // Nothing overtakes what waits, also not inside on_done_, where one more may execute.
  bool must_wait() const noexcept {
    return executing_ >= limits_.max_executing || waiting_count_ != 0;
  }
  void count_out(const ClientOp& op);
  bool take_out_waiting(const ClientOpRef& op);
  void start_waiting();
  void start_lists();
  void on_executed(ClientOpRef op, OpResultRef result);

  const Limits limits_;
  OpExecutor::OnDone on_done_;
  ClientOpRef take_waiting();

  // By session; no queue is empty. None unless executing_ is at the limit, or in on_done_.
  std::map<uint64_t, std::deque<ClientOpRef>> waiting_;
  std::deque<uint64_t> turns_;     // the sessions of waiting_, the next one first
  std::size_t waiting_count_ = 0;  // ops in waiting_
  std::map<std::string, std::size_t, std::less<>> waiting_of_;  // … by entity; none is 0
  std::map<const ClientOp*, UniqueFunction<void()>> removals_;  // ops of our own, with the executor
  std::size_t executing_ = 0;                                   // with the executor, without LISTs
  ListTurns lists_;
  OpExecutor executor_;
};

}  // namespace lunar::osd
