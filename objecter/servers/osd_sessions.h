// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "msgr/event_center.h"
#include "objecter/cluster/server_table.h"
#include "objecter/image_writes.h"
#include "objecter/ops/counters.h"
#include "objecter/ops/op_ending.h"
#include "objecter/ops/payload_delivery.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/servers/osd_session.h"

namespace lunar::objecter {

// The sessions with all OSDs that ops went to: sends ops on them, and decides over the ops in
// flight when the session or the address of an OSD changes.
//
// What may be sent again: after a reset the server's hello says which process it is (incarnation)
// and whether it still has this client's results. If it is the same process and has them, every op
// is sent again with its tid and answered once. If not, an op that changes an object and was not
// declared idempotent ends with kUnknownOutcome, and the others are sent again.
//
// Loop-bound. Borrows all it is given; owns the sessions.
class OsdSessions {
 public:
  OsdSessions(msgr::EventCenter& center, ServerTable& servers, PayloadDelivery& delivery,
              OpEnding& ending, UnconfirmedChanges& unconfirmed, ObjecterCounters& counters);

  // The session with this OSD; one that is new connects at once, if the OSD is up.
  // REQUIRES: there is a map.
  OsdSession& of(OsdId osd);
  // The connection that the session with this OSD uses; null if it has none.
  ServerRef server_of(OsdId osd) const noexcept;
  // Sends the op if its session is ready and nobody else may use its buffers. If not, the op stays
  // in kWaitSession. REQUIRES: it is in kWaitSession, and in its session's queue.
  void try_send(Op& op);

  // The map changed: makes the sessions agree with it. Sends nothing: ops may have to go elsewhere.
  void on_new_map(OsdMapRef map);
  void send_waiting();

  // From the dispatcher.
  // False if it is not the server that the map means: a newer map may say otherwise.
  bool on_hello(const ServerRef& server);
  void on_reset(const ServerRef& server);
  void on_link_down() { watch_addresses(); }

  // Tries no other address from now on.
  void shut_down();
  // Lets go of all connections. REQUIRES: no ops.
  void clear() { sessions_.clear(); }

  std::shared_ptr<ImageWrites> writes_of(ImageId image);
  // What ImageWrites::oldest() says of the image; if nobody has it open there is none to wait for.
  uint64_t oldest_write(ImageId image) const;
  // A server names a loss of the image that it had not named before.
  void on_new_loss(ImageId image);
  // The caller of a FLUSH of the image that ended with kLostWrites knows, which began when this was
  // the oldest write; or could not be told.
  void on_loss_heard(ImageId image, uint64_t oldest_write);
  void on_loss_unheard(ImageId image);

  // Calls fn(const OsdSession&) for each.
  template <typename Fn>
  void for_each(Fn&& fn) const {
    for (const auto& [id, session] : sessions_) fn(*session);
  }

 private:
  void update(OsdSession& session);
  void connect(OsdSession& session, const OsdInfo& osd);
  void move_away(OsdSession& session);
  void send_waiting(OsdSession& session);
  void begin(OsdSession& session);
  void ask_for_words(OsdSession& session, bool is_remembered);
  void forget_later(OsdId osd);
  void resume(OsdSession& session, Op& op, bool is_remembered, bool is_same_process);
  void lose(OsdSession& session);
  bool should_move(const OsdSession& session) const;
  void watch_addresses();
  void move_on();
  std::shared_ptr<ImageWrites> find_writes(ImageId image) const;  // null: nobody has it open

  msgr::EventCenter& center_;
  ServerTable& servers_;
  PayloadDelivery& delivery_;
  OpEnding& ending_;
  UnconfirmedChanges& unconfirmed_;
  ObjecterCounters& counters_;
  OsdMapRef map_;  // null before the first, and then there are no sessions
  std::unordered_map<OsdId, std::unique_ptr<OsdSession>> sessions_;
  std::unordered_map<ImageId, std::weak_ptr<ImageWrites>> writes_;
  msgr::TimerId address_timer_ = msgr::TimerId::kNone;  // runs while some session should_move()
  std::vector<OsdId> forgotten_;  // servers that have forgotten us, until forget_timer_
  msgr::TimerId forget_timer_ = msgr::TimerId::kNone;
  bool is_shut_down_ = false;
};

}  // namespace lunar::objecter
