// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/session_link.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "msgr/errors.h"
#include "msgr/session/handshake_messages.h"
#include "tracing/tracepoints.h"

// Sending. A message is encoded only when the link has little queued, so that what waits takes the
// room of messages and not of bytes, and a message of higher priority passes it. Each frame carries
// the newest ack; a frame of its own goes out only when 10 ms, 32 messages or 1 MiB have passed
// without one.
//
// Life. Each side sends a kKeepalive every interval, whatever else it sends, and counts any frame,
// or the beginning of a payload, as a sign of life. A side that does not read, because of its
// dispatch throttle, therefore still shows life, and does not judge the peer meanwhile: the peer's
// frames are waiting in the transport.

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMaxQueuedBytes = 512u << 10;
constexpr uint32_t kMaxMessagesOnLink = 128;
constexpr auto kAckDelay = 10ms;
constexpr uint32_t kAckFrames = 32;
constexpr std::size_t kAckBytes = 1u << 20;
constexpr auto kWithdrawalGrace = 50ms;
constexpr auto kFinishLimit = 200ms;

uint64_t wall_clock_ns() noexcept {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

}  // namespace

SessionLink::SessionLink(Setup setup, std::unique_ptr<Link> link, SessionLinkOwner& owner)
    : setup_(setup), link_(std::move(link)), owner_(owner) {}

SessionLink::~SessionLink() {
  for (TimerId timer : {ack_timer_, tick_timer_, close_timer_}) setup_.center.cancel(timer);
}

void SessionLink::start() {
  last_received_ = last_message_ = setup_.center.now();
  link_->set_handler(this);
  setup_.throttle.add(*this);
  if (setup_.options.keepalive_interval.count() > 0) {
    tick_timer_ = setup_.center.run_after(setup_.options.keepalive_interval, [this] { tick(); });
  }
  pump();
}

// --- sending ---

void SessionLink::pump() {
  while (state_ == State::kUp && setup_.queue.has_next() &&
         link_->queued_bytes() < kMaxQueuedBytes && messages_on_link_ < kMaxMessagesOnLink) {
    send_next();
  }
}

void SessionLink::send_next() {
  const SendQueue::Next next = setup_.queue.take_next();
  Frame frame;
  frame.header.seq = next.seq;
  frame.header.ack_seq = setup_.in_seq;
  owed_ = {};
  if (next.message == nullptr) {
    frame.header.tag = static_cast<uint8_t>(FrameTag::kVoid);
    setup_.counters.voids_out.add();
    link_->send(std::move(frame), {});
    return;
  }
  const MessageMeta& meta = next.message->meta();
  EncodedMessage body;
  next.message->encode(*link_, setup_.generation, body);
  std::size_t data_bytes = 0;
  for (ConstBytes piece : body.data) data_bytes += piece.size();
  LUNAR_CHECK(body.front.size() <= setup_.options.limits.max_front_bytes &&
                  data_bytes <= setup_.options.limits.max_data_bytes,
              "a message above the limits of a frame");
  LUNAR_TRACE(lunar_msgr, frame_sent, meta.trace_id, meta.tid, setup_.connection_id, next.seq,
              meta.type, static_cast<uint32_t>(body.front.size()),
              static_cast<uint32_t>(data_bytes));
  setup_.counters.messages_out.add();
  setup_.counters.bytes_out.add(body.front.size() + data_bytes);
  if (next.is_replay) setup_.counters.replays.add();
  frame.header.tag = static_cast<uint8_t>(FrameTag::kMessage);
  frame.header.priority = static_cast<uint8_t>(meta.priority);
  frame.header.message_type = meta.type;
  frame.header.tid = meta.tid;
  frame.header.trace_id = meta.trace_id;
  frame.front = std::move(body.front);
  frame.data = std::move(body.data);
  last_message_ = setup_.center.now();
  ++messages_on_link_;
  link_->send(std::move(frame), [this, seq = next.seq](std::error_code) { on_sent(seq); });
}

void SessionLink::on_sent(uint64_t seq) {
  // A lossy session keeps nothing: what left is over, whether it arrived or not.
  --messages_on_link_;
  setup_.queue.sent(seq, !setup_.is_lossy);
  hurry_withdrawals();
  report_finished();
  pump();
}

void SessionLink::send_control(FrameTag tag, std::vector<std::byte> front, IoDone sent) {
  Frame frame;
  frame.header.tag = static_cast<uint8_t>(tag);
  frame.header.ack_seq = setup_.in_seq;
  frame.front = std::move(front);
  owed_ = {};
  link_->send(std::move(frame), std::move(sent));
}

void SessionLink::owe_ack(std::size_t bytes) {
  if (setup_.is_lossy || state_ != State::kUp) return;
  owed_.frames += 1;
  owed_.bytes += bytes;
  if (owed_.frames >= kAckFrames || owed_.bytes >= kAckBytes) {
    send_ack();
  } else if (ack_timer_ == TimerId::kNone) {
    ack_timer_ = setup_.center.run_after(kAckDelay, [this] {
      ack_timer_ = TimerId::kNone;
      if (owed_.frames > 0) send_ack();
    });
  }
}

void SessionLink::send_ack() {
  if (state_ != State::kUp) return;
  setup_.counters.acks_out.add();
  send_control(FrameTag::kAck, {}, {});
}

void SessionLink::hurry_withdrawals() {
  const auto oldest = setup_.queue.oldest_withdrawal();
  if (state_ != State::kUp || oldest == hurried_) return;
  hurried_ = oldest;
  setup_.center.cancel(std::exchange(close_timer_, TimerId::kNone));
  if (!oldest) return;
  close_timer_ = setup_.center.run_after(*oldest + kWithdrawalGrace - setup_.center.now(), [this] {
    close_timer_ = TimerId::kNone;
    if (state_ != State::kUp) return;
    LUNAR_LOG(kMs, 1, "conn {}: link dropped, it does not let go of a withdrawn message",
              setup_.connection_id);
    fail(make_error_code(MsgrErrc::kClosed));
  });
}

// --- keys ---

void SessionLink::revoke(const RemoteKey& key, InlineFunction<void()> done) {
  if (!done) {
    if (state_ != State::kClosing) link_->revoke(key, {});
    return;
  }
  const uint64_t number = next_revocation_++;
  revocations_.emplace(number, std::move(done));
  if (state_ == State::kClosing) return;
  link_->revoke(key, [this, number](std::error_code error) {
    if (error) return fail(make_error_code(MsgrErrc::kKeyTakenBack));
    const auto revoked = revocations_.extract(number);
    if (!revoked.empty()) revoked.mapped()();
  });
}

std::vector<InlineFunction<void()>> SessionLink::take_revocations() {
  std::vector<InlineFunction<void()>> taken;
  for (auto& [number, done] : revocations_) taken.push_back(std::move(done));
  revocations_.clear();
  return taken;
}

// --- receiving ---

Bytes SessionLink::payload_for(const FrameHeader& header, ConstBytes front) {
  if (state_ != State::kUp) return {};
  last_received_ = setup_.center.now();
  if (header.tag != static_cast<uint8_t>(FrameTag::kMessage)) {
    fail(make_error_code(MsgrErrc::kBadFrame));
    return {};
  }
  // A number that is not the next one is a duplicate or a fault: on_frame() will tell.
  if (header.seq.value() != setup_.in_seq + 1) return {};
  const Bytes place = owner_.place_payload(header, front);
  LUNAR_CHECK(place.empty() || place.size() == header.data_length.value(),
              "payload_for() gave memory of another length");
  arriving_ = {header.seq.value(), header.tid.value(), !place.empty()};
  return place;
}

void SessionLink::abandon_payload(uint64_t tid) {
  if (state_ == State::kClosing || !arriving_.is_placed || arriving_.tid != tid) return;
  // Nobody wants it any more, so it counts as received: on this link and on the next.
  setup_.in_seq = std::max(setup_.in_seq, arriving_.seq);
  arriving_ = {};
  link_->abandon_payload(tid);
}

void SessionLink::on_frame(ReceivedFrame frame) {
  if (state_ == State::kFinishing && frame.header.tag == static_cast<uint8_t>(FrameTag::kClose)) {
    begin_close();  // both sides want to end it
  }
  if (state_ != State::kUp) return;
  last_received_ = setup_.center.now();
  if (!setup_.queue.acknowledge(frame.header.ack_seq.value())) {
    fail(make_error_code(MsgrErrc::kBadFrame));
    return;
  }
  report_finished();
  const auto tag = static_cast<FrameTag>(frame.header.tag);
  const bool is_sequenced = tag == FrameTag::kMessage || tag == FrameTag::kVoid;
  const bool is_bare = tag == FrameTag::kVoid || tag == FrameTag::kAck || tag == FrameTag::kClose;
  if (is_sequenced != (frame.header.seq.value() != 0) || (is_bare && !frame.front.empty())) {
    fail(make_error_code(MsgrErrc::kBadFrame));
    return;
  }
  switch (tag) {
    case FrameTag::kMessage:
    case FrameTag::kVoid:
      on_sequenced(std::move(frame));
      return;
    case FrameTag::kAck:
      setup_.counters.acks_in.add();
      return;
    case FrameTag::kKeepalive:
      on_keepalive(frame);
      return;
    case FrameTag::kKeepaliveAck:
      on_keepalive_ack(frame);
      return;
    case FrameTag::kClose:
      fail(make_error_code(MsgrErrc::kClosedByPeer));
      owner_.closed_by_peer();
      return;
    default:
      fail(make_error_code(MsgrErrc::kBadTag));
  }
}

void SessionLink::on_sequenced(ReceivedFrame frame) {
  arriving_ = {};
  const uint64_t seq = frame.header.seq.value();
  if (seq <= setup_.in_seq) return;  // abandoned when it was all but here
  if (seq != setup_.in_seq + 1) {
    fail(make_error_code(MsgrErrc::kBadFrame));
    return;
  }
  setup_.in_seq = seq;
  last_message_ = last_received_;
  const std::size_t bytes = frame.front.size() + frame.data.size();
  owe_ack(bytes);
  if (frame.header.tag == static_cast<uint8_t>(FrameTag::kVoid)) return;
  LUNAR_TRACE(lunar_msgr, frame_received, frame.header.trace_id.value(), frame.header.tid.value(),
              setup_.connection_id, seq, frame.header.message_type.value(),
              static_cast<uint32_t>(frame.front.size()), static_cast<uint32_t>(frame.data.size()));
  setup_.counters.messages_in.add();
  setup_.counters.bytes_in.add(bytes);
  setup_.counters.payload_copied.add(frame.copied_bytes);
  owner_.message_arrived(std::move(frame));
}

void SessionLink::pause() {
  is_paused_ = true;
  link_->pause_reading();
}

void SessionLink::resume() {
  is_paused_ = false;
  last_received_ = setup_.center.now();
  link_->resume_reading();
}

// --- signs of life ---

void SessionLink::tick() {
  const MessengerOptions& options = setup_.options;
  tick_timer_ = setup_.center.run_after(options.keepalive_interval, [this] { tick(); });
  if (state_ != State::kUp) return;
  const auto now = setup_.center.now();
  if (is_paused_) last_received_ = now;
  if (now - last_received_ > options.keepalive_timeout) {
    setup_.counters.keepalive_timeouts.add();
    fail(make_error_code(MsgrErrc::kTimedOut));
    return;
  }
  if (setup_.may_idle_out && setup_.queue.is_idle() && !is_paused_ &&
      now - last_message_ > options.connection_idle_timeout) {
    owner_.link_is_idle();
    return;
  }
  // One at a time, or a peer that does not read would have us queue them without end.
  if (keepalive_on_link_) return;
  keepalive_on_link_ = true;
  send_control(FrameTag::kKeepalive, Keepalive{wall_clock_ns()}.encode(),
               [this](std::error_code) { keepalive_on_link_ = false; });
}

void SessionLink::on_keepalive(const ReceivedFrame& frame) {
  const Result<Keepalive> keepalive = Keepalive::decode(frame.front);
  if (!keepalive) {
    fail(keepalive.error());
    return;
  }
  keepalive_sent_ = keepalive->sent;
  keepalive_received_ = wall_clock_ns();
  keepalive_ack_owed_ = true;
  send_keepalive_ack();
}

void SessionLink::send_keepalive_ack() {
  if (!keepalive_ack_owed_ || keepalive_ack_on_link_ || state_ != State::kUp) return;
  keepalive_ack_owed_ = false;
  keepalive_ack_on_link_ = true;
  send_control(FrameTag::kKeepaliveAck,
               KeepaliveAck{keepalive_sent_, keepalive_received_, wall_clock_ns()}.encode(),
               [this](std::error_code) {
                 keepalive_ack_on_link_ = false;
                 send_keepalive_ack();
               });
}

void SessionLink::on_keepalive_ack(const ReceivedFrame& frame) {
  const Result<KeepaliveAck> ack = KeepaliveAck::decode(frame.front);
  if (!ack) {
    fail(ack.error());
    return;
  }
  // The peer's clock is no more to be trusted than its bytes: unsigned, so that nothing overflows.
  const uint64_t now = wall_clock_ns();
  const uint64_t rtt = (now - ack->sent) - (ack->answered - ack->received);
  const uint64_t twice_offset = (ack->received - ack->sent) + (ack->answered - now);
  if (rtt > static_cast<uint64_t>(std::chrono::nanoseconds(1h).count())) return;  // a clock jumped
  setup_.counters.keepalive_rtt.add(std::chrono::nanoseconds(static_cast<int64_t>(rtt)));
  [[maybe_unused]] const int64_t offset = static_cast<int64_t>(twice_offset) / 2;
  LUNAR_TRACE(lunar_msgr, keepalive, setup_.connection_id, offset, rtt);
}

// --- the end ---

void SessionLink::fail(std::error_code why) {
  if (state_ == State::kClosing) return;
  if (state_ == State::kUp) why_ = why;
  begin_close();
}

void SessionLink::finish(std::error_code why) {
  if (state_ != State::kUp) return;
  if (arriving_.is_placed) abandon_payload(arriving_.tid);
  state_ = State::kFinishing;
  why_ = why;
  setup_.center.cancel(std::exchange(close_timer_, TimerId::kNone));
  // The peer closes the link when it has read this. We go on reading until then, and throw away
  // what comes: closing with bytes unread could cost the peer what we have just said.
  if (is_paused_) resume();
  unlink();  // from the throttle's readers
  send_control(FrameTag::kClose, {}, {});
  close_timer_ = setup_.center.run_after(kFinishLimit, [this] {
    close_timer_ = TimerId::kNone;
    begin_close();
  });
}

void SessionLink::begin_close() {
  if (state_ == State::kClosing) return;
  state_ = State::kClosing;
  arriving_ = {};
  unlink();  // from the throttle's readers
  // One turn later, so that the link is not destroyed inside its own callback.
  link_->close([this] { setup_.center.post([this] { owner_.link_closed(why_); }); });
}

void SessionLink::report_finished() {
  if (setup_.queue.has_finished()) owner_.messages_finished();
}

}  // namespace lunar::msgr
