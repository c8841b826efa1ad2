// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/session_link.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/check.h"
#include "common/host.h"
#include "common/log_limited.h"
#include "msgr/errors.h"
#include "msgr/session/handshake_messages.h"
#include "tracing/tracepoints.h"

// Sending. A message is encoded only when the link has little queued, so that what waits takes the
// room of messages and not of bytes, and a message of higher priority passes it. Each frame carries
// the newest ack; a frame of its own goes out only when 10 ms, 32 messages or 1 MiB have passed
// without one.
//
// Signs of life. Each side sends a kKeepalive every interval, whatever else it sends, and counts
// any frame, or the beginning of a payload, as a sign of life.
//
// The dispatch throttle stops a link at the first data that is above its share. What has no data
// passes: acknowledgements, signs of life, cancels, maps, boots. What is behind that
// data waits in the transport, so a side whose link is stalled does not judge the peer; it still
// shows life itself.

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMaxQueuedBytes = 512u << 10;
constexpr uint32_t kMaxMessagesOnLink = 128;
constexpr auto kWithdrawalGrace = 50ms;
constexpr auto kShutDownLimit = 200ms;

uint64_t wall_clock_ns() noexcept {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(wall_now().time_since_epoch()).count());
}

}  // namespace

SessionLink::SessionLink(const SessionLinkContext& context, std::unique_ptr<Link> link,
                         SessionLinkOwner& owner)
    : context_(context), link_(std::move(link)), owner_(owner) {}

SessionLink::~SessionLink() {
  for (TimerId timer : {ack_timer_, tick_timer_, close_timer_}) context_.center.cancel(timer);
}

void SessionLink::start() {
  started_ = last_received_ = last_message_ = context_.center.now();
  link_->set_handler(this);
  if (context_.options.keepalive_interval.count() > 0) {
    tick_timer_ =
        context_.center.run_after(context_.options.keepalive_interval, [this] { tick(); });
  }
  pump();
}

// --- sending ---

void SessionLink::pump() {
  if (state_ == State::kUp && must_renew()) return fail(make_error_code(MsgrErrc::kRenewed));
  while (state_ == State::kUp && context_.queue.has_next() &&
         link_->queued_bytes() < kMaxQueuedBytes && messages_on_link_ < kMaxMessagesOnLink) {
    send_next();
  }
}

void SessionLink::send_next() {
  const SendQueue::NextMessage next = context_.queue.take_next();
  Frame frame;
  frame.header.seq = next.seq;
  frame.header.ack_seq = context_.in_seq;
  owed_ack_.clear();
  if (next.message == nullptr) {
    frame.header.tag = static_cast<uint8_t>(FrameTag::kVoid);
    context_.counters.voids_out.add();
    link_->send(std::move(frame), {});
    return;
  }
  const MessageMeta& meta = next.message->meta();
  EncodedMessage body;
  next.message->encode(*link_, context_.generation, body);
  std::size_t data_bytes = 0;
  for (ConstBytes bytes : body.data) data_bytes += bytes.size();
  const FrameLimits& limits = context_.options.limits;
  if (body.front.size() > limits.max_front_bytes || data_bytes > limits.max_data_bytes) {
    // Its number must not be missing. Who waits for an answer to it times out.
    LUNAR_ERROR(kMs,
                "conn {}: a message of type {} has a front of {} and data of {} bytes, and is not "
                "sent: raise ms_max_front_bytes and ms_max_data_bytes on all hosts",
                context_.connection_id, meta.type, body.front.size(), data_bytes);
    context_.counters.messages_too_long.add();
    frame.header.tag = static_cast<uint8_t>(FrameTag::kVoid);
    ++messages_on_link_;
    link_->send(std::move(frame), [this, seq = next.seq](std::error_code) { on_sent(seq); });
    return;
  }
  LUNAR_TRACE(lunar_msgr, frame_sent, meta.trace_id, meta.tid, context_.connection_id, next.seq,
              meta.type, static_cast<uint32_t>(body.front.size()),
              static_cast<uint32_t>(data_bytes));
  context_.counters.messages_out.add();
  context_.counters.bytes_out.add(body.front.size() + data_bytes);
  if (next.is_replay) context_.counters.replays.add();
  frame.header.tag = static_cast<uint8_t>(FrameTag::kMessage);
  frame.header.priority = static_cast<uint8_t>(meta.priority);
  frame.header.message_type = meta.type;
  frame.header.tid = meta.tid;
  frame.header.trace_id = meta.trace_id;
  frame.front = std::move(body.front);
  frame.data = std::move(body.data);
  last_message_ = context_.center.now();
  ++messages_on_link_;
  link_->send(std::move(frame), [this, seq = next.seq](std::error_code) { on_sent(seq); });
}

void SessionLink::on_sent(uint64_t seq) {
  // A lossy session keeps nothing: what left is over, whether it arrived or not.
  --messages_on_link_;
  context_.queue.sent(seq, !context_.is_lossy);
  hurry_withdrawals();
  report_finished();
  pump();
}

void SessionLink::send_control(FrameTag tag, std::vector<std::byte> front, IoDone sent) {
  Frame frame;
  frame.header.tag = static_cast<uint8_t>(tag);
  frame.header.ack_seq = context_.in_seq;
  frame.front = std::move(front);
  owed_ack_.clear();
  link_->send(std::move(frame), std::move(sent));
}

void SessionLink::owe_ack(std::size_t bytes) {
  if (context_.is_lossy || state_ != State::kUp) return;
  if (owed_ack_.add(bytes)) {
    send_ack();
  } else if (ack_timer_ == TimerId::kNone) {
    ack_timer_ = context_.center.run_after(OwedAck::kDelay, [this] {
      ack_timer_ = TimerId::kNone;
      if (owed_ack_.is_owed()) send_ack();
    });
  }
}

void SessionLink::send_ack() {
  if (state_ != State::kUp) return;
  context_.counters.acks_out.add();
  send_control(FrameTag::kAck, {}, {});
}

void SessionLink::hurry_withdrawals() {
  const auto oldest = context_.queue.oldest_withdrawal();
  if (state_ != State::kUp || oldest == hurried_) return;
  hurried_ = oldest;
  context_.center.cancel(std::exchange(close_timer_, TimerId::kNone));
  if (!oldest) return;
  close_timer_ =
      context_.center.run_after(*oldest + kWithdrawalGrace - context_.center.now(), [this] {
        close_timer_ = TimerId::kNone;
        if (state_ != State::kUp) return;
        LUNAR_LOG(kMs, 1, "conn {}: link dropped, it does not let go of a withdrawn message",
                  context_.connection_id);
        fail(make_error_code(MsgrErrc::kClosed));
      });
}

// --- keys ---

void SessionLink::revoke(const RemoteKey& key, InlineFunction<void()> done) {
  if (!done) {
    if (state_ != State::kClosing) link_->revoke(key, {});
    return;
  }
  const uint64_t number = revocations_.add(std::move(done));
  if (state_ == State::kClosing) return;
  link_->revoke(key, [this, number](std::error_code error) {
    if (error) return fail(make_error_code(MsgrErrc::kKeyTakenBack));
    revocations_.finish(number);
  });
}

// --- receiving ---

Bytes SessionLink::payload_for(const FrameHeader& header, ConstBytes front) {
  if (state_ != State::kUp) return {};
  last_received_ = context_.center.now();
  arriving_bytes_ = header.data_length.value();
  held_.give_back();
  if (header.tag != static_cast<uint8_t>(FrameTag::kMessage)) {
    fail(make_error_code(MsgrErrc::kBadFrame));
    return {};
  }
  // A number that is not the next one is a duplicate or a fault: on_frame() will tell.
  if (header.seq.value() != context_.in_seq + 1) return {};
  const Bytes place = owner_.place_payload(header, front);
  LUNAR_CHECK(place.empty() || place.size() == header.data_length.value(),
              "payload_for() gave memory of another length");
  arriving_ = {header.seq.value(), header.tid.value(), !place.empty()};
  return place;
}

void SessionLink::abandon_payload(uint64_t tid) {
  if (state_ == State::kClosing || !arriving_.is_placed || arriving_.tid != tid) return;
  // Nobody wants it any more, so it counts as received: on this link and on the next.
  context_.in_seq = std::max(context_.in_seq, arriving_.seq);
  arriving_ = {};
  link_->abandon_payload(tid);
}

void SessionLink::on_frame(ReceivedFrame frame) {
  if (state_ == State::kShuttingDown &&
      frame.header.tag == static_cast<uint8_t>(FrameTag::kClose)) {
    begin_close();  // both sides want to end it
  }
  if (state_ != State::kUp) return;
  last_received_ = context_.center.now();
  if (!context_.queue.acknowledge(frame.header.ack_seq.value())) {
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
  has_progress_ = has_progress_ || is_sequenced || tag == FrameTag::kAck;
  switch (tag) {
    case FrameTag::kMessage:
    case FrameTag::kVoid:
      on_sequenced(std::move(frame));
      return;
    case FrameTag::kAck:
      context_.counters.acks_in.add();
      return;
    case FrameTag::kKeepalive:
      on_keepalive(frame);
      return;
    case FrameTag::kKeepaliveAck:
      on_keepalive_ack(frame);
      return;
    case FrameTag::kClose:
      fail(make_error_code(MsgrErrc::kClosedByPeer));
      owner_.on_closed_by_peer();
      return;
    default:
      fail(make_error_code(MsgrErrc::kBadTag));
  }
}

void SessionLink::on_sequenced(ReceivedFrame frame) {
  arriving_ = {};
  FairShares::Held held = std::move(held_);
  const uint64_t seq = frame.header.seq.value();
  if (seq <= context_.in_seq) return;  // abandoned when it was all but here
  if (seq != context_.in_seq + 1) {
    fail(make_error_code(MsgrErrc::kBadFrame));
    return;
  }
  context_.in_seq = seq;
  last_message_ = last_received_;
  const std::size_t bytes = frame.front.size() + frame.data.size();
  owe_ack(bytes);
  if (frame.header.tag == static_cast<uint8_t>(FrameTag::kVoid)) return;
  LUNAR_TRACE(lunar_msgr, frame_received, frame.header.trace_id.value(), frame.header.tid.value(),
              context_.connection_id, seq, frame.header.message_type.value(),
              static_cast<uint32_t>(frame.front.size()), static_cast<uint32_t>(frame.data.size()));
  context_.counters.messages_in.add();
  context_.counters.bytes_in.add(bytes);
  context_.counters.payload_copied.add(frame.copied_bytes);
  owner_.on_message(std::move(frame), std::move(held));
}

// Asked again and again while there is no memory for what is admitted.
bool SessionLink::can_take_payload() {
  if (state_ != State::kUp || held_) return true;
  if (!context_.throttle.accepts(*this, *context_.share, arriving_bytes_)) {
    if (!std::exchange(is_stalled_, true)) context_.counters.throttle_waits.add();
    return false;
  }
  is_stalled_ = false;
  held_ = context_.throttle.hold(context_.share, arriving_bytes_);
  return true;
}

void SessionLink::resume() {
  if (!is_stalled_) return;
  last_received_ = context_.center.now();
  link_->resume_reading();
}

// --- signs of life ---

void SessionLink::tick() {
  const MessengerOptions& options = context_.options;
  tick_timer_ = context_.center.run_after(options.keepalive_interval, [this] { tick(); });
  if (state_ != State::kUp) return;
  const auto now = context_.center.now();
  if (must_renew()) return fail(make_error_code(MsgrErrc::kRenewed));
  if (is_stalled_) last_received_ = now;
  if (now - last_received_ > options.keepalive_timeout) {
    context_.counters.keepalive_timeouts.add();
    fail(make_error_code(MsgrErrc::kTimedOut));
    return;
  }
  // A server may be stopped by its throttle, and not read for long: only its clients have to.
  if (context_.may_idle_out && is_unread(now)) {
    context_.counters.send_timeouts.add();
    LUNAR_LOG_LIMITED(kMs, 0, "conn {}: link dropped, the peer does not read what it asked for",
                      context_.connection_id);
    fail(make_error_code(MsgrErrc::kTimedOut));
    return;
  }
  if (context_.may_idle_out && context_.queue.is_idle() && !is_stalled_ &&
      now - last_message_ > options.connection_idle_timeout) {
    owner_.on_link_idle();
    return;
  }
  const std::optional<Keepalive> keepalive = keepalives_.next(wall_clock_ns());
  if (!keepalive) return;
  send_control(FrameTag::kKeepalive, keepalive->encode(),
               [this](std::error_code) { keepalives_.on_sent(); });
}

// Whether the link has reached the limit of bytes or age for one set of keys. The accepting side
// allows twice the limit, so that the connector renews first. A link that has made no progress with
// what it has to send is not renewed: a message above the limit would start over on every link.
bool SessionLink::must_renew() const {
  if (!context_.is_secure || context_.is_lossy) return false;
  const uint64_t factor = context_.is_renewed_here ? 1 : 2;
  const LinkCounters done = link_->counters();
  const uint64_t bytes = done.bytes_sent + done.bytes_received;
  if (bytes > factor * context_.options.secure_max_bytes) return has_progress_;
  const bool is_old = context_.center.now() - started_ > factor * context_.options.secure_max_age;
  return is_old && (has_progress_ || context_.queue.is_idle());
}

// A client that does not read can still send keepalives, and what it asked for is kept in memory.
// It has to take all of it, or at least 1 MiB, in the time in which it has to give a sign of life.
bool SessionLink::is_unread(EventCenter::Clock::time_point now) {
  constexpr uint64_t kLeast = 1u << 20;
  const uint64_t sent = link_->counters().bytes_sent;
  const std::size_t queued = link_->queued_bytes();
  if (send_watch_.queued != 0) {
    const bool has_moved =
        sent - send_watch_.sent >= std::min<uint64_t>(send_watch_.queued, kLeast);
    if (!has_moved) return now - send_watch_.since > context_.options.keepalive_timeout;
  }
  send_watch_ = {now, queued, sent};
  return false;
}

void SessionLink::on_keepalive(const ReceivedFrame& frame) {
  const Result<Keepalive> keepalive = Keepalive::decode(frame.front);
  if (!keepalive) {
    fail(keepalive.error());
    return;
  }
  keepalives_.on_keepalive(*keepalive, wall_clock_ns());
  send_keepalive_ack();
}

void SessionLink::send_keepalive_ack() {
  if (state_ != State::kUp) return;
  const std::optional<KeepaliveAck> ack = keepalives_.next_ack(wall_clock_ns());
  if (!ack) return;
  send_control(FrameTag::kKeepaliveAck, ack->encode(), [this](std::error_code) {
    keepalives_.on_ack_sent();
    send_keepalive_ack();
  });
}

void SessionLink::on_keepalive_ack(const ReceivedFrame& frame) {
  const Result<KeepaliveAck> ack = KeepaliveAck::decode(frame.front);
  if (!ack) {
    fail(ack.error());
    return;
  }
  const auto measured = KeepaliveExchange::measure(*ack, wall_clock_ns());
  if (!measured) return;
  context_.counters.keepalive_rtt.add(measured->round_trip);
  LUNAR_TRACE(lunar_msgr, keepalive, context_.connection_id, measured->clock_offset_ns,
              static_cast<uint64_t>(measured->round_trip.count()));
}

// --- the end ---

void SessionLink::fail(std::error_code why) {
  if (state_ == State::kClosing) return;
  if (state_ == State::kUp) why_ = why;
  begin_close();
}

void SessionLink::shut_down(std::error_code why) {
  if (state_ != State::kUp) return;
  if (arriving_.is_placed) abandon_payload(arriving_.tid);
  state_ = State::kShuttingDown;
  why_ = why;
  context_.center.cancel(std::exchange(close_timer_, TimerId::kNone));
  // The peer closes the link when it has read this. We go on reading until then, and throw away
  // what comes: closing with bytes unread could cost the peer what we have just said.
  if (is_stalled_) resume();
  held_.give_back();
  unlink();  // from the throttle's readers
  send_control(FrameTag::kClose, {}, {});
  close_timer_ = context_.center.run_after(kShutDownLimit, [this] {
    close_timer_ = TimerId::kNone;
    begin_close();
  });
}

void SessionLink::begin_close() {
  if (state_ == State::kClosing) return;
  state_ = State::kClosing;
  arriving_ = {};
  held_.give_back();
  unlink();  // from the throttle's readers
  // One turn later, so that the link is not destroyed inside its own callback.
  link_->close([this] { context_.center.post([this] { owner_.on_link_closed(why_); }); });
}

void SessionLink::report_finished() {
  if (context_.queue.has_finished()) owner_.on_messages_finished();
}

}  // namespace lunar::msgr
