// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>

#include "msgr/event_center.h"
#include "objecter/map/map_client.h"
#include "objecter/ops/counters.h"
#include "objecter/ops/op.h"
#include "objecter/ops/op_deadlines.h"
#include "objecter/ops/op_ending.h"
#include "objecter/ops/op_events.h"
#include "objecter/ops/op_table.h"
#include "objecter/ops/unconfirmed_changes.h"
#include "objecter/protocol/targeting.h"
#include "objecter/servers/osd_sessions.h"

namespace lunar::objecter {

// From submit() until an op has its place in a queue: of the throttle, of those that wait for a
// map, or of its OSD's session; and from there again, when a new map or an answer sends it
// elsewhere. Loop-bound. Borrows all it is given; owns the targets under the map, and the queue of
// ops that wait for one.
class OpSubmission {
 public:
  struct Limits {
    std::chrono::nanoseconds op_timeout;
    uint64_t max_data_bytes;  // of a frame of ours
  };
  OpSubmission(msgr::EventCenter& center, OpTable& table, OpDeadlines& deadlines, OpEnding& ending,
               OsdSessions& sessions, UnconfirmedChanges& unconfirmed, MapClient& maps,
               ObjecterCounters& counters, OpEvents& events, Limits limits);

  // Checks the op, and sends it on its way.
  Tid submit(ObjectOp object_op, OpDone done);
  // For ops that are no object's. A new op with a deadline, in no queue: begin() or OpEnding::end()
  // is next.
  Op& add(OpKind kind, ObjectOp object_op, OpDone done);
  // Admits the op if it is a kObject, then target(). Ends it instead after shut_down().
  void begin(Op& op);
  // Gives the op its place in the queue that is its own under the newest map.
  // REQUIRES: it is in no queue.
  void target(Op& op);
  // Ops that the throttle holds back go, as far as there is room.
  void admit_waiting();

  // The op's server did not execute it, and its map is of epoch `servers`: targets the op under a
  // map that is newer than the one it was sent under.
  void retry_with_newer_map(Op& op, Epoch servers);

  // The server of an op in kMoving has given it up: it was not executed. Targets it anew.
  void on_given_up(Op& op);

  // For UnconfirmedChanges: ops that wait are targeted anew.
  void retry_waiting();

  // The map changed. Sends nothing, so that ops may go in the order of their tids once all have
  // their place.
  void set_map(const OsdMapRef& map) {
    targeting_.set_map(map);
    unconfirmed_.set_map(map);
  }
  void retarget_all();
  // Pools that are still missing do not exist (MapEvents).
  void on_newest_confirmed(uint64_t ticket);
  void shut_down();

 private:
  void retarget(Op& op);
  void move(Op& op);
  bool may_be_changing(const Op& op) const;
  OsdId new_target(const Op& op);
  void assign(Op& op, OsdId osd);
  void wait_for_newer_map(Op& op, Epoch epoch);
  void wait_for_pool(Op& op);
  void retry_later();
  void publish_in_flight();

  msgr::EventCenter& center_;
  OpTable& table_;
  OpDeadlines& deadlines_;
  OpEnding& ending_;
  OsdSessions& sessions_;
  UnconfirmedChanges& unconfirmed_;
  MapClient& maps_;
  ObjecterCounters& counters_;
  OpEvents& events_;
  const Limits limits_;
  Targeting targeting_;
  OpQueue waiting_;  // kWaitMap
  msgr::TimerId retry_timer_ = msgr::TimerId::kNone;
  bool is_shut_down_ = false;
};

}  // namespace lunar::objecter
