// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>

#include "common/bytes.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"
#include "msgr/fair_shares.h"
#include "objecter/protocol/watch.h"
#include "osd/watch/notify_slots.h"
#include "osd/watch/watch_counters.h"
#include "osd/watch/watching_client.h"

namespace lunar::osd {

// The notifies that wait for acks: tells each watcher of a notify, and ends it when all of them
// have acked or lost their watches, or when its time is over. What it keeps for a notify, up to its
// result, is counted for the entity that notifies.
// Loop-bound. Borrows center and counters; a watch that it is told of, with its client, until
// on_watch_ended(). REQUIRES at destruction: stop() was called, and what it posted has run; or no
// notify was ever begun.
class PendingNotifies {
 public:
  struct Limits {
    NotifySlots::Limits slots{};
    uint64_t bytes = 64u << 20;  // of all; an entity has half of it
    std::chrono::milliseconds max_timeout{std::chrono::minutes(1)};
  };
  using ObjectId = objecter::ObjectId;
  using OsdErrc = objecter::OsdErrc;
  // With what the result counts for; to be resized, and kept until it is let go of.
  using Done = UniqueFunction<void(Result<objecter::NotifyResult>, msgr::FairShares::Held)>;

  // `start` makes ids of notifies that no other start of the server makes.
  PendingNotifies(msgr::EventCenter& center, Limits limits, WatchCounters& counters,
                  uint32_t start);
  ~PendingNotifies();

  // Tells `watches`, all those of the object, the content of the notify; its id and cookie are set
  // here. `done` runs once, later, unless take_back() came first. kBusy: too many of the object or
  // the notifier, or too much of its entity; kShutdown after stop(). `token` is of no other notify
  // under way; `settling` is that of the object now. Who has no link, or has not read what it was
  // told before, is told by tell_untold(); if that comes too late, its client hears of the watch
  // that it has missed something (WatchingClient::note_missed()).
  void begin(const void* token, objecter::WatchNotify content, const std::set<WatchKey>& watches,
             const objecter::WatchSettling& settling, Done done);
  // Forgets a notify: true, and its `done` does not run. False if there is none with this token.
  bool take_back(const void* token);

  // False if that notify is not of this object, or does not wait for this watch.
  bool take_ack(const WatchKey& watch, const ObjectId& object, uint64_t notify_id,
                ConstBytes reply);
  // Tells a watch again of the notifies of its object that it did not ack.
  void tell_again(const WatchKey& watch, const ObjectId& object);
  // … of those only that it could not be told of before.
  void tell_untold(const WatchKey& watch, const ObjectId& object);
  // No notify waits for this watch any more. `is_lost`: its client did not end it, so each of those
  // that waited has missed it.
  void on_watch_ended(const WatchKey& watch, const ObjectId& object, bool is_lost);

  // Ends all with kShutdown, and those that come later too.
  void stop();

  std::size_t size() const noexcept { return notifies_.size(); }

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct PendingNotify {
    const void* token = nullptr;
    objecter::WatchNotify content;  // but for cookie and timeout, which differ by message
    TimePoint deadline;
    msgr::TimerId timer = msgr::TimerId::kNone;
    std::set<WatchKey> waits_for;
    std::set<WatchKey> untold;  // those of waits_for that could not be told
    objecter::NotifyResult result;
    std::size_t ack_bytes = 0;
    msgr::FairShares::ShareRef share;  // of the notifier; null if it was refused before
    msgr::FairShares::Held held;       // `need`, of it
    uint64_t need = 0;
    bool has_slot = false;
    OsdErrc error = OsdErrc::kOk;
    bool is_finished = false;  // run_done() is posted
    Done done;
  };

  OsdErrc take_room(PendingNotify& notify, const std::set<WatchKey>& watches);
  void tell(PendingNotify& notify, const WatchKey& watch);
  void miss(PendingNotify& notify, const WatchKey& watch);
  void time_out(uint64_t id);
  void finish_if_complete(PendingNotify& notify);
  void finish(PendingNotify& notify);
  void run_done(uint64_t id);
  void forget(std::map<uint64_t, PendingNotify>::iterator notify);

  msgr::EventCenter& center_;
  const Limits limits_;
  WatchCounters& counters_;
  std::map<uint64_t, PendingNotify> notifies_;
  NotifySlots slots_;
  const std::shared_ptr<msgr::FairShares> shares_;
  std::map<ObjectId, std::set<uint64_t>> of_object_;  // those of notifies_; none is empty
  uint64_t next_id_;
  bool is_stopped_ = false;
};

}  // namespace lunar::osd
