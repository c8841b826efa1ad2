// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/session.h"

#include <utility>

#include "common/log.h"
#include "msgr/errors.h"
#include "tracing/tracepoints.h"

namespace lunar::msgr {

Session::Session(SessionHost& host, Policy policy, const Address& target, bool begins_connecting)
    : Connection(host.center, target),
      host_(host),
      policy_(policy),
      begins_connecting_(begins_connecting),
      link_changed_(host.center.now()),
      backoff_(host.options.initial_backoff, host.options.max_backoff,
               host.options.inject_seed == 0 ? 0 : host.options.inject_seed + id()),
      pause_(host.center) {}

Session::~Session() = default;

void Session::start() { run(); }

// --- Connection ---

void Session::send(std::unique_ptr<OutMessage> message) {
  if (is_ending_ || was_reset_) {
    center().post([message = std::move(message)] {});
    return;
  }
  LUNAR_TRACE(lunar_msgr, frame_queued, message->meta().trace_id, message->meta().tid, id(),
              message->meta().type);
  queue_.push(std::move(message));
  if (link_ != nullptr) {
    link_->pump();
  } else if (!begins_connecting_ && !target().is_unset()) {
    wake();  // a lossless peer that waited may now connect
  }
}

void Session::withdraw(uint64_t tid, InlineFunction<void()> done) {
  if (link_ != nullptr) link_->abandon_payload(tid);
  const bool waits = queue_.withdraw(tid, std::move(done), center().now());
  if (waits && link_ != nullptr) link_->hurry_withdrawals();
  messages_finished();
}

LinkCapabilities Session::link_capabilities() const noexcept {
  if (!link_is_up()) return {};
  LinkCapabilities capabilities = link_->link().capabilities();
  capabilities.one_sided = capabilities.one_sided && peer().one_sided;
  return capabilities;
}

// The link a key may be used on, if it is up and can move so many bytes at once.
Link* Session::link_of(const RemoteKey& key, uint32_t bytes) noexcept {
  if (!link_is_up() || link_->generation() != key.link_generation) return nullptr;
  const LinkCapabilities& can = link_->link().capabilities();
  return can.one_sided && bytes <= can.max_fragment_bytes ? &link_->link() : nullptr;
}

void Session::remote_read(const RemoteKey& from, RegisteredSlice local, IoDone done) {
  Link* const link = link_of(from, local.length);
  if (link != nullptr) return link->remote_read(from, local, std::move(done));
  center().post(
      [done = std::make_unique<IoDone>(std::move(done))] { (*done)(MsgrErrc::kStaleKey); });
}

void Session::remote_write(RegisteredSlice local, const RemoteKey& to, IoDone done) {
  Link* const link = link_of(to, local.length);
  if (link != nullptr) return link->remote_write(local, to, std::move(done));
  center().post(
      [done = std::make_unique<IoDone>(std::move(done))] { (*done)(MsgrErrc::kStaleKey); });
}

void Session::revoke(const RemoteKey& key, InlineFunction<void()> done) {
  if (link_ != nullptr && link_->generation() == key.link_generation) {
    link_->revoke(key, std::move(done));
  } else if (done) {
    center().post(std::move(done));  // its link is closed: one is adopted only after that
  }
}

void Session::close() noexcept {
  if (is_ending_) return;
  is_ending_ = true;
  set_open(false);
  LUNAR_LOG(kMs, 1, "conn {}: closed", id());
  queue_.drop_queued();
  messages_finished();
  if (link_ != nullptr) link_->finish(make_error_code(MsgrErrc::kClosed));
  wake();
}

// --- for the acceptor ---

bool Session::is_same_peer(const Greeted& greeted) const {
  return peer().entity == greeted.peer.entity && peer().instance == greeted.peer.instance &&
         peer().nonce == greeted.peer.nonce && peer().is_authenticated == greeted.is_authenticated;
}

Session::Verdict Session::consider(const Greeted& greeted, const SessionRequest& request,
                                   const RaceRank& ours, const RaceRank& theirs) const {
  if (is_ending_) return Verdict::kUnknown;
  const bool is_known = request.cookie == peer_cookie_;
  if (request.is_new() && is_known && (in_seq_ != 0 || queue_.acked() != 0)) {
    return Verdict::kUnknown;  // it says it never had the session it has been using
  }
  if (!request.is_new() && !(is_open() && is_known && request.peer_cookie == own_cookie_ &&
                             is_same_peer(greeted) && queue_.could_replay_from(request.in_seq))) {
    return Verdict::kUnknown;
  }
  // A session is stolen neither by its address nor by its cookie.
  if (request.is_new() && is_open() && peer().entity != greeted.peer.entity)
    return Verdict::kUnknown;
  if ((is_known || !is_open()) && request.generation < generation_) return Verdict::kStale;
  const bool is_connecting = attempt_ != nullptr || channel_ != nullptr;
  if (is_connecting && own_connect_wins(ours, theirs)) return Verdict::kLostRace;
  return Verdict::kWelcome;
}

void Session::offer(std::unique_ptr<Offer> offer) {
  const std::error_code replaced = make_error_code(MsgrErrc::kReplaced);
  if (offer_ != nullptr) host_.dispose(std::move(offer_->channel));
  offer_ = std::move(offer);
  if (link_ != nullptr) link_->fail(replaced);
  if (attempt_ != nullptr || channel_ != nullptr) host_.counters.races.add();
  if (attempt_ != nullptr) attempt_->abort(make_error_code(MsgrErrc::kConnectionRace));
  if (channel_ != nullptr) {
    channel_->abort(make_error_code(MsgrErrc::kConnectionRace));
  } else {
    pause_.wake();
  }
}

void Session::begin_connecting() {
  begins_connecting_ = true;
  wake();
}

// --- what the link brings ---

Bytes Session::place_payload(const FrameHeader& header, ConstBytes front) {
  const MessageMeta meta{header.message_type.value(), static_cast<Priority>(header.priority),
                         header.tid.value(), header.trace_id.value()};
  return host_.dispatcher.payload_for(*this, meta, front, header.data_length.value());
}

void Session::message_arrived(ReceivedFrame frame) {
  InMessage message;
  message.meta =
      MessageMeta{frame.header.message_type.value(), static_cast<Priority>(frame.header.priority),
                  frame.header.tid.value(), frame.header.trace_id.value()};
  // What the dispatcher placed is its own memory: only ours is throttled.
  const std::size_t held = frame.front.size() + frame.buffer.bytes().size();
  message.link_generation = link_->generation();
  message.front = std::move(frame.front);
  message.data = frame.data;
  message.buffer = std::move(frame.buffer);
  const uint64_t waits_before = host_.throttle->waits();
  message.release_throttle = host_.throttle->hold(held);
  host_.counters.throttle_waits.add(host_.throttle->waits() - waits_before);
  host_.dispatcher.on_message(*this, std::move(message));
}

void Session::closed_by_peer() { reset_after_link_ = make_error_code(MsgrErrc::kClosedByPeer); }

void Session::link_is_idle() {
  reset_after_link_ = make_error_code(MsgrErrc::kTimedOut);
  link_->finish(reset_after_link_);
}

void Session::messages_finished() {
  if (finish_is_posted_ || !queue_.has_finished()) return;
  finish_is_posted_ = true;
  center().post([self = shared_self()] {
    self->finish_is_posted_ = false;
    SendQueue::Finished finished = self->queue_.take_finished();
    finished.messages.clear();
    for (auto& done : finished.callbacks) done();
  });
}

void Session::link_closed(std::error_code why) {
  LUNAR_TRACE(lunar_msgr, link_down, id(), why.value());
  LUNAR_LOG(kMs, 1, "conn {}: link to {} is down: {}", id(), peer().entity, why.message());
  if (why != MsgrErrc::kClosed && why != MsgrErrc::kClosedByPeer) host_.counters.links_lost.add();
  // With the link its keys are gone.
  for (auto& revoked : link_->take_revocations()) center().post(std::move(revoked));
  link_.reset();
  const auto now = center().now();
  // A link that brought something over was worth its while, however short: on a bad network the
  // pauses would else grow although each link makes progress.
  const uint64_t progress = in_seq_ + queue_.acked();
  const bool has_progressed = progress != std::exchange(progress_, progress);
  retry_at_once_ = now - link_changed_ >= host_.options.initial_backoff;
  if (retry_at_once_ || has_progressed) backoff_.reset();
  link_changed_ = now;
  if (!is_ending_) host_.dispatcher.on_link(*this, false);
  link_ends_.push(why);
}

void Session::wake() {
  if (std::exchange(wake_is_posted_, true)) return;
  center().post([self = shared_self()] {
    self->wake_is_posted_ = false;
    if (self->is_ending_) {
      const std::error_code closed = make_error_code(MsgrErrc::kClosed);
      if (self->attempt_ != nullptr) self->attempt_->abort(closed);
      if (self->channel_ != nullptr) self->channel_->abort(closed);
    }
    self->pause_.wake();
  });
}

}  // namespace lunar::msgr
