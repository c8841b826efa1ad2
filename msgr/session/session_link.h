// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <system_error>
#include <vector>

#include "msgr/event_center.h"
#include "msgr/messenger.h"
#include "msgr/net/link.h"
#include "msgr/session/dispatch_throttle.h"
#include "msgr/session/keepalive_exchange.h"
#include "msgr/session/key_revocations.h"
#include "msgr/session/owed_ack.h"
#include "msgr/session/send_queue.h"
#include "msgr/session/session_counters.h"

namespace lunar::msgr {

// What a link of a session tells the session. Called on the loop, from inside the link's callbacks.
struct SessionLinkOwner {
  // As LinkHandler::payload_for(), for a message that is new.
  virtual Bytes place_payload(const FrameHeader& header, ConstBytes front) = 0;
  // A message in its order, once, and what its data holds of the throttle. May call anything of the
  // session.
  virtual void on_message(ReceivedFrame frame, FairShares::Held held) = 0;
  // The peer said kClose; the link is being closed.
  virtual void on_closed_by_peer() = 0;
  // No message for connection_idle_timeout, and none on its way.
  virtual void on_link_idle() = 0;
  // Something is in SendQueue::take_finished().
  virtual void on_messages_finished() = 0;
  // The link is closed and touches no memory; the SessionLink may be destroyed inside this call.
  virtual void on_link_closed(std::error_code why) = 0;

 protected:
  ~SessionLinkOwner() = default;
};

// What a link needs of its session and messenger; all of it outlives the link.
struct SessionLinkContext {
  EventCenter& center;
  const MessengerOptions& options;
  SessionCounters& counters;
  DispatchThrottle& throttle;
  FairShares::ShareRef share;  // of the throttle, by this connection
  SendQueue& queue;
  uint64_t& in_seq;  // highest sequence number received in order; the link counts it on
  uint64_t connection_id = 0;
  uint64_t generation = 0;
  bool is_lossy = false;
  bool is_secure = false;
  bool is_renewed_here = false;  // a secure one, by failing with kRenewed: we make the next one
  bool may_idle_out = false;     // ends the session after connection_idle_timeout without a message
};

// One link of a session while it carries frames: sends what the queue has, acknowledges what
// arrives, and watches for signs of life. All faults end in one way: fail(), then on_link_closed().
// Loop-bound. Owns the link; borrows the session's queue and in_seq, which outlive it.
class SessionLink final : public LinkHandler, private ThrottledReader {
 public:
  SessionLink(const SessionLinkContext& context, std::unique_ptr<Link> link,
              SessionLinkOwner& owner);
  ~SessionLink();

  // Takes the link over from its handshake and sends what the queue has.
  void start();
  // Encodes and sends while the link takes more: call after something was queued.
  void pump();
  // Drops a payload with this tid that is arriving where place_payload() said.
  void abandon_payload(uint64_t tid);
  // Each withdrawn message that is still being sent gets a moment, then the link is dropped for it.
  void hurry_withdrawals();
  // As Connection::revoke(), for a key of this link.
  void revoke(const RemoteKey& key, InlineFunction<void()> done);
  // Those that the end of the link settles. For on_link_closed().
  std::vector<KeyRevocations::Done> take_revocations() { return revocations_.take_all(); }
  // Ends the link at once.
  void fail(std::error_code why);
  // Sends kClose, then ends the link. Nothing is delivered any more.
  void shut_down(std::error_code why);

  bool is_up() const noexcept { return state_ == State::kUp; }
  uint64_t generation() const noexcept { return context_.generation; }
  Link& link() noexcept { return *link_; }
  const Link& link() const noexcept { return *link_; }

 private:
  enum class State : uint8_t { kUp, kShuttingDown, kClosing };

  Bytes payload_for(const FrameHeader& header, ConstBytes front) override;
  void on_frame(ReceivedFrame frame) override;
  bool can_take_payload() override;
  void on_closed(std::error_code why) override { fail(why); }
  void resume() override;

  void send_next();
  void send_control(FrameTag tag, std::vector<std::byte> front, IoDone sent);
  void on_sent(uint64_t seq);
  void on_sequenced(ReceivedFrame frame);
  void on_keepalive(const ReceivedFrame& frame);
  void on_keepalive_ack(const ReceivedFrame& frame);
  void owe_ack(std::size_t bytes);
  void send_ack();
  void send_keepalive_ack();
  void tick();
  bool must_renew() const;
  bool is_unread(EventCenter::Clock::time_point now);
  void begin_close();
  void report_finished();

  struct Arriving {
    uint64_t seq = 0;
    uint64_t tid = 0;
    bool is_placed = false;  // in memory of the dispatcher's
  };
  // What the link had to send at some time, to see whether it does.
  struct SendWatch {
    EventCenter::Clock::time_point since;
    std::size_t queued = 0;  // 0: nothing is watched
    uint64_t sent = 0;
  };

  const SessionLinkContext context_;
  std::unique_ptr<Link> link_;
  SessionLinkOwner& owner_;
  State state_ = State::kUp;
  std::error_code why_;          // set once it is not up
  Arriving arriving_;            // the payload that has a place and is not complete
  uint32_t arriving_bytes_ = 0;  // of the payload whose place was asked for last
  FairShares::Held held_;        // for it, if it goes into memory of the link's own
  SendWatch send_watch_;
  uint32_t messages_on_link_ = 0;  // given to it and not yet sent
  bool has_progress_ = false;      // something was exchanged that the next link need not repeat
  bool is_stalled_ = false;        // data has arrived that has to wait for the throttle
  OwedAck owed_ack_;               // of nothing unless up
  KeepaliveExchange keepalives_;
  KeyRevocations revocations_;
  EventCenter::Clock::time_point last_received_;  // a sign of life
  EventCenter::Clock::time_point last_message_;
  EventCenter::Clock::time_point started_;
  TimerId ack_timer_ = TimerId::kNone;
  TimerId tick_timer_ = TimerId::kNone;
  TimerId close_timer_ = TimerId::kNone;  // bounds shut_down(), or the oldest withdrawal
  std::optional<EventCenter::Clock::time_point> hurried_;  // since when that one waits
};

}  // namespace lunar::msgr
