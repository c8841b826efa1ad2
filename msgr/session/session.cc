// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/session.h"

#include <utility>

#include "common/log_limited.h"
#include "msgr/errors.h"
#include "tracing/tracepoints.h"

namespace lunar::msgr {
namespace {

// A client's ops wait for its links, which are few per server: after an outage they must not wait
// for the end of a long pause. Refused or lost attempts of a thousand clients cost a server
// nothing.
constexpr std::chrono::seconds kClientPatience{2};

std::chrono::nanoseconds patience_of(Policy policy) noexcept {
  return policy == Policy::kLosslessClient ? kClientPatience : std::chrono::nanoseconds::max();
}

}  // namespace

Session::Session(SessionEnvironment& environment, Policy policy, const Address& target,
                 bool begins_connecting)
    : Connection(environment.center, target),
      environment_(environment),
      policy_(policy),
      begins_connecting_(begins_connecting),
      pacing_(environment.options.initial_backoff, environment.options.max_backoff,
              patience_of(policy),
              environment.options.inject_seed == 0 ? 0 : environment.options.inject_seed + id(),
              environment.center.now()),
      connector_(environment, exchange_, *this, id(), policy, target),
      pause_(environment.center) {}

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
  exchange_.queue().push(std::move(message));
  if (target().is_unset() && exchange_.queue().size() > environment_.options.max_unread_messages) {
    environment_.counters.sessions_refused.add();
    LUNAR_LOG_LIMITED(kMs, 0,
                      "conn {}: closed, {} has {} messages here that it did not take; "
                      "ms_max_unread_messages is the limit",
                      id(), peer().entity, exchange_.queue().size());
    return close();
  }
  if (link_ != nullptr) {
    link_->pump();
  } else if (!begins_connecting_ && !target().is_unset()) {
    wake();  // a lossless peer that waited may now connect
  }
}

void Session::withdraw(uint64_t tid, InlineFunction<void()> done) {
  if (link_ != nullptr) link_->abandon_payload(tid);
  const bool waits = exchange_.queue().withdraw(tid, std::move(done), center().now());
  if (waits && link_ != nullptr) link_->hurry_withdrawals();
  on_messages_finished();
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
  center().post_done(std::move(done), make_error_code(MsgrErrc::kStaleKey));
}

void Session::remote_write(RegisteredSlice local, const RemoteKey& to, IoDone done) {
  Link* const link = link_of(to, local.length);
  if (link != nullptr) return link->remote_write(local, to, std::move(done));
  center().post_done(std::move(done), make_error_code(MsgrErrc::kStaleKey));
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
  owes_reset_ = is_open();
  set_open(false);
  LUNAR_LOG(kMs, 1, "conn {}: closed", id());
  exchange_.queue().drop_queued();
  connector_.give_up(make_error_code(MsgrErrc::kClosed));
  on_messages_finished();
  if (link_ != nullptr) link_->shut_down(make_error_code(MsgrErrc::kClosed));
  wake();
}

// --- for the acceptor ---

RequestVerdict Session::judge(const Greeted& greeted, const SessionRequest& request,
                              const RaceRank& ours, const RaceRank& theirs) const {
  if (is_ending_) return RequestVerdict::kUnknown;
  const RequestVerdict verdict = exchange_.judge(request, greeted, peer());
  const bool has_lost = connector_.is_connecting() && wins_race(ours, theirs);
  return verdict == RequestVerdict::kWelcome && has_lost ? RequestVerdict::kLostRace : verdict;
}

void Session::take(std::unique_ptr<IncomingLink> incoming) {
  if (incoming_ != nullptr) environment_.dispose(std::move(incoming_->channel));
  incoming_ = std::move(incoming);
  if (link_ != nullptr) link_->fail(make_error_code(MsgrErrc::kReplaced));
  if (!connector_.is_connecting()) return pause_.wake();
  environment_.counters.races.add();
  connector_.abort(make_error_code(MsgrErrc::kConnectionRace));
}

void Session::on_keys_changed() {
  if (key_.text.empty() || is_ending_) return;
  const Keyring& keyring = *environment_.keyring;
  const std::string& own = environment_.options.entity;
  if (const auto name = EntityName::parse(peer().entity); !name || !keyring.contains(*name)) {
    environment_.counters.sessions_revoked.add();
    LUNAR_LOG(kMs, 0, "conn {}: closed, the key of {} was taken out of the keyring", id(),
              peer().entity);
    return close();
  }
  // A link that waits in incoming_ is looked at when its turn comes.
  if (link_ == nullptr || key_.counts(keyring, peer().entity, own)) return;
  LUNAR_LOG(kMs, 0, "conn {}: link dropped, {} has another key now", id(), peer().entity);
  link_->fail(make_error_code(MsgrErrc::kRenewed));
}

void Session::begin_connecting() {
  begins_connecting_ = true;
  wake();
}

// --- what the link brings ---

Bytes Session::place_payload(const FrameHeader& header, ConstBytes front) {
  const MessageMeta meta{header.message_type.value(), static_cast<Priority>(header.priority),
                         header.tid.value(), header.trace_id.value()};
  return environment_.dispatcher.payload_for(*this, meta, front, header.data_length.value());
}

void Session::on_message(ReceivedFrame frame, FairShares::Held held) {
  InMessage message;
  message.meta =
      MessageMeta{frame.header.message_type.value(), static_cast<Priority>(frame.header.priority),
                  frame.header.tid.value(), frame.header.trace_id.value()};
  // What the dispatcher placed is its own memory: only ours is counted.
  if (!held) held = environment_.throttle->hold(share_, frame.front.size());
  message.link_generation = link_->generation();
  message.front = std::move(frame.front);
  message.data = frame.data;
  message.buffer = std::move(frame.buffer);
  message.release_throttle = environment_.throttle->releaser(std::move(held));
  environment_.dispatcher.on_message(*this, std::move(message));
}

void Session::on_closed_by_peer() { reset_after_link_ = make_error_code(MsgrErrc::kClosedByPeer); }

void Session::on_link_idle() {
  reset_after_link_ = make_error_code(MsgrErrc::kTimedOut);
  link_->shut_down(reset_after_link_);
}

void Session::on_messages_finished() {
  if (is_finish_posted_ || !exchange_.queue().has_finished()) return;
  is_finish_posted_ = true;
  center().post([self = shared_self()] {
    self->is_finish_posted_ = false;
    SendQueue::FinishedMessages finished = self->exchange_.queue().take_finished();
    finished.messages.clear();
    for (auto& done : finished.callbacks) done();
  });
}

void Session::on_link_closed(std::error_code why) {
  LUNAR_TRACE(lunar_msgr, link_down, id(), why.value());
  LUNAR_LOG(kMs, 1, "conn {}: link to {} is down: {}", id(), peer().entity, why.message());
  if (why == MsgrErrc::kRenewed)
    environment_.counters.links_renewed.add();
  else if (why != MsgrErrc::kClosed && why != MsgrErrc::kClosedByPeer)
    environment_.counters.links_lost.add();
  // With the link its keys are gone.
  for (auto& revoked : link_->take_revocations()) center().post(std::move(revoked));
  link_.reset();
  exchange_.queue().release_payloads();
  pacing_.on_link_down(center().now(), exchange_.progress());
  if (!is_ending_) environment_.dispatcher.on_link(*this, false);
  link_ends_.push(why);
}

void Session::session_is_unknown() { reset(make_error_code(MsgrErrc::kSessionReset)); }

void Session::wake() {
  if (std::exchange(is_wake_posted_, true)) return;
  center().post([self = shared_self()] {
    self->is_wake_posted_ = false;
    if (self->is_ending_) self->connector_.abort(make_error_code(MsgrErrc::kClosed));
    self->pause_.wake();
  });
}

}  // namespace lunar::msgr
