// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/unique_function.h"
#include "objecter/ops/op_ending.h"
#include "objecter/ops/op_submission.h"
#include "objecter/ops/op_table.h"
#include "objecter/servers/osd_sessions.h"
#include "objecter/watch/watch_calls.h"
#include "objecter/watch_handler.h"

namespace lunar::objecter {

// The watches of this client: each a linger op, which outlives its WATCH op, is sent again whenever
// its server may have forgotten it, and ends when its user says so or hears that it is lost.
//
// A watch is good for a time from the moment at which the last question that its server answered
// was *sent*: a WATCH, or a ping, of which one goes to each server with watches every tenth of the
// watch timeout. That time is five sixths of the timeout, by our own clock. The server waits for
// the whole timeout, and not before it has lost the connection that brought the question. So we
// know first.
//
// Loop-bound. Borrows all it is given, and handlers; owns the linger ops.
class LingerOps {
 public:
  using WatchDone = UniqueFunction<void(std::error_code)>;
  LingerOps(msgr::EventCenter& center, WatchCalls& calls, OpTable& table, OpEnding& ending,
            OsdSessions& sessions, ObjecterCounters& counters);
  ~LingerOps();

  // As in objecter.h.
  void watch(ObjectId object, uint64_t cookie, WatchHandler& handler, WatchDone done);
  void unwatch(ObjectId object, uint64_t cookie, WatchDone done);
  Result<std::chrono::nanoseconds> check(const ObjectId& object, uint64_t cookie) const;

  // The map changed, and ops know it.
  void on_new_map(OsdMapRef map);
  void on_hello(const ServerRef& server);
  void on_reset(const ServerRef& server);
  void on_notify(const ServerRef& server, ConstBytes front);
  void on_lost(const ServerRef& server, ConstBytes front);
  void on_pong(const ServerRef& server, ConstBytes front);
  // No handler is called any more; every `done` ends with kShutdown.
  void shut_down();

 private:
  using LingerId = uint64_t;
  using WatchName = std::pair<ObjectId, uint64_t>;  // with the cookie
  struct LingerOp {
    WatchName name;
    WatchHandler* handler = nullptr;
    WatchDone done;            // of watch(); empty once the watch was confirmed
    Tid tid = 0;               // of the WATCH under way; or 0
    OsdId osd = -1;            // that has the object under the newest map; or -1
    uint64_t incarnation = 0;  // of the server that confirmed it; 0: none, or not in its session
    bool must_ask = false;     // again, as soon as the WATCH under way has ended
    OpTime asked;              // when the WATCH under way, or the last, was sent
    OpTime confirmed;          // when the last question that was answered was sent; with `timeout`
    std::chrono::milliseconds timeout{0};        // of the server; 0: it was never confirmed
    msgr::TimerId retry = msgr::TimerId::kNone;  // asks again
    std::map<uint64_t, OpTime> notifies;         // that the handler has and did not ack; until
    bool is_confirmed() const noexcept { return incarnation != 0 && !must_ask; }
    OpTime good_until() const noexcept { return confirmed + timeout / 6 * 5; }
  };
  // An UNWATCH, from unwatch() or a loss to its end.
  struct LeavingWatch {
    Tid watch = 0;   // the WATCH that must end first; or 0
    WatchDone done;  // empty for one that nobody asked for
  };

  LingerOp* find(LingerId id);
  LingerOp* find(const ServerRef& server, const WatchName& name, LingerId& id);
  std::vector<LingerId> ids() const;
  bool is_at(const LingerOp& linger, const ServerRef& server) const;
  OsdId osd_of(const ObjectId& object) const;
  void ask(LingerId id, LingerOp& linger);
  void on_answer(LingerId id, const WatchName& name, const OpReply& reply);
  void confirm(LingerId id, LingerOp& linger, std::chrono::milliseconds timeout);
  void ask_later(LingerId id, LingerOp& linger);
  void lose(LingerId id, std::error_code why);
  WatchDone remove(LingerId id);
  void leave(const WatchName& name, Tid watch, WatchDone done);
  void send_unwatch(const WatchName& name);
  void on_left(const WatchName& name, std::error_code error);
  void ack(LingerId id, uint64_t notify_id, ConstBytes reply);
  void set_timer();
  void on_timer();
  void ping();
  void finish_later(WatchDone done, std::error_code error);

  msgr::EventCenter& center_;
  WatchCalls& calls_;
  OpTable& table_;
  OpEnding& ending_;
  OsdSessions& sessions_;
  ObjecterCounters& counters_;
  OsdMapRef map_;  // null before the first
  LingerId next_id_ = 1;
  std::map<LingerId, LingerOp> lingers_;
  std::map<WatchName, LingerId> by_name_;  // all of lingers_
  std::map<WatchName, LeavingWatch> leaving_;
  msgr::TimerId timer_ = msgr::TimerId::kNone;  // runs while some watch was confirmed once
  OpTime next_ping_;
  bool is_shut_down_ = false;
  // What acks that users keep have of us.
  const std::shared_ptr<LingerOps*> self_ = std::make_shared<LingerOps*>(this);
};

}  // namespace lunar::objecter
