// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/upgrade.h"

#include <fmt/format.h>

#include <utility>

#include "common/log.h"
#include "common/random.h"

// The connector offers; the acceptor completes its end, or begins to wait for the link that the
// connector makes, then answers; the connector completes its own and sends a probe over the new
// link, and the acceptor answers that there. From then on the connector uses the new link only.
// Until then it may go back to the old one at any time, so the acceptor listens to both until one
// of them brings the session request, or the old one ends after the new one was proven.

namespace lunar::msgr {
namespace {

// What can happen during an upgrade.
struct UpgradeEvent {
  enum class Kind : uint8_t { kPrepared, kLink, kFailed, kOldFrame, kNewFrame, kOldEnded };
  UpgradeEvent(Kind of, std::error_code error, std::string text)
      : kind(of), why(error), sentence(std::move(text)) {}
  explicit UpgradeEvent(std::vector<std::byte> bytes)
      : kind(Kind::kPrepared), endpoint(std::move(bytes)) {}
  UpgradeEvent(Kind of, ReceivedFrame received) : kind(of), frame(std::move(received)) {}
  explicit UpgradeEvent(Kind of) : kind(of) {}

  Kind kind;
  std::error_code why;
  std::string sentence;
  std::vector<std::byte> endpoint;
  ReceivedFrame frame;
};
using Kind = UpgradeEvent::Kind;

HandshakeFailure lost(const UpgradeEvent& event) {
  return HandshakeFailure(event.why, event.why.message(), false);
}

UpgradeToken random_token() {
  UpgradeToken token;
  random_bytes(token);
  return token;
}

bool has_tag(const ReceivedFrame& frame, FrameTag tag) noexcept {
  return frame.header.tag == static_cast<uint8_t>(tag);
}

bool is_probe(const ReceivedFrame& frame, const UpgradeToken& token) {
  if (!has_tag(frame, FrameTag::kRdmaProbe)) return false;
  const Result<RdmaProbe> probe = RdmaProbe::decode(frame.front);
  return probe && probe->token == token;
}

// One try, on either side: brings its callbacks together as events for one coroutine. Taps the old
// channel for as long as it lives.
class UpgradeTry {
 public:
  UpgradeTry(UpgradeSetup& setup, FrameChannel& old, LinkUpgrade& upgrade)
      : setup_(setup), old_(old), upgrade_(upgrade) {
    old_.set_tap([this](Result<ReceivedFrame> what) {
      if (what) return events_.push(UpgradeEvent(Kind::kOldFrame, std::move(*what)));
      events_.push(UpgradeEvent(Kind::kOldEnded, what.error(), {}));
    });
    timer_ = setup_.center.run_after(upgrade_.time_limit(), [this] {
      timer_ = TimerId::kNone;
      events_.push(UpgradeEvent(Kind::kFailed, make_error_code(MsgrErrc::kTimedOut),
                                "the new link did not carry its first frame in time"));
    });
  }
  ~UpgradeTry() {
    stop_timer();
    old_.set_tap({});
    drop_new();
  }
  UpgradeTry(const UpgradeTry&) = delete;
  UpgradeTry& operator=(const UpgradeTry&) = delete;

  Inbox<UpgradeEvent>::Next next() noexcept { return events_.next(); }

  void prepare() {
    upgrade_.prepare([this](Outcome<std::vector<std::byte>> endpoint) {
      if (endpoint) return events_.push(UpgradeEvent(std::move(*endpoint)));
      events_.push(UpgradeEvent(Kind::kFailed, endpoint.error().code, endpoint.error().message));
    });
  }
  void complete(ConstBytes told) {
    upgrade_.complete(told,
                      [this](Result<std::unique_ptr<Link>> link) { on_link(std::move(link)); });
  }
  void await_link(ConstBytes told) {
    upgrade_.await_link(told,
                        [this](Result<std::unique_ptr<Link>> link) { on_link(std::move(link)); });
  }
  bool has_new() const noexcept { return new_ != nullptr; }
  FrameChannel& new_channel() noexcept { return *new_; }
  std::unique_ptr<FrameChannel> take_new() {
    new_->set_tap({});
    return std::move(new_);
  }
  void drop_new() {
    if (new_ == nullptr) return;
    new_->set_tap({});
    setup_.dispose(std::move(new_));
  }
  void stop_timer() { setup_.center.cancel(std::exchange(timer_, TimerId::kNone)); }

 private:
  void on_link(Result<std::unique_ptr<Link>> link) {
    if (!link) {
      return events_.push(UpgradeEvent(Kind::kFailed, link.error(), link.error().message()));
    }
    new_ =
        std::make_unique<FrameChannel>(setup_.center, std::move(*link), setup_.handshake_timeout);
    new_->set_tap([this](Result<ReceivedFrame> what) {
      if (what) return events_.push(UpgradeEvent(Kind::kNewFrame, std::move(*what)));
      events_.push(UpgradeEvent(Kind::kFailed, what.error(),
                                fmt::format("the new link: {}", what.error().message())));
    });
    events_.push(UpgradeEvent(Kind::kLink));
  }

  UpgradeSetup& setup_;
  FrameChannel& old_;
  LinkUpgrade& upgrade_;
  std::unique_ptr<FrameChannel> new_;
  TimerId timer_ = TimerId::kNone;
  Inbox<UpgradeEvent> events_;
};

// Nothing, if the old link may be used; else why the handshake ends here.
UpgradeFailure stay(LinkUpgrade& upgrade, std::error_code why, std::string sentence) {
  const Error error{why, sentence};
  if (upgrade.may_stay(error)) return std::nullopt;
  return HandshakeFailure(
      why, fmt::format("no RDMA, and ms_async_rdma_fallback is off: {}", sentence), true);
}

UpgradeFailure stay_without_peer(LinkUpgrade& upgrade) {
  return stay(upgrade, make_error_code(MsgrErrc::kFeatureMismatch), "the peer has no RDMA");
}

// Counted as a fallback: RDMA was wanted.
UpgradeFailure stay_secure(LinkUpgrade& upgrade) {
  return stay(upgrade, std::make_error_code(std::errc::operation_not_supported),
              "a secure link stays on TCP");
}

// What ends a connector's try before the new link is proven.
UpgradeFailure end_of(LinkUpgrade& upgrade, const UpgradeEvent& event) {
  switch (event.kind) {
    case Kind::kFailed:
      return stay(upgrade, event.why, event.sentence);
    case Kind::kOldEnded:
      return lost(event);
    case Kind::kOldFrame:
      return explain_unexpected(event.frame);
    default:
      return stay(upgrade, make_error_code(MsgrErrc::kBadFrame),
                  "the new link carried something else than its probe");
  }
}

}  // namespace

bool can_upgrade(EventCenter& center, NetworkStack& stack, const Link& link) {
  return stack.upgrade(center, link) != nullptr;
}

Task<UpgradeFailure> upgrade_as_connector(UpgradeSetup setup,
                                          std::unique_ptr<FrameChannel>& channel,
                                          uint64_t peer_features, bool is_secure) {
  if (channel->has_ended()) co_return std::nullopt;  // what follows on it fails
  const std::unique_ptr<LinkUpgrade> upgrade = setup.stack.upgrade(setup.center, channel->link());
  if (upgrade == nullptr) co_return std::nullopt;
  if (is_secure) co_return stay_secure(*upgrade);
  if ((peer_features & kFeatureRdma) == 0) co_return stay_without_peer(*upgrade);
  UpgradeTry attempt(setup, *channel, *upgrade);

  attempt.prepare();
  Result<UpgradeEvent> prepared = co_await attempt.next();
  if (prepared->kind != Kind::kPrepared) co_return end_of(*upgrade, *prepared);
  RdmaOffer offer;
  offer.token = random_token();
  offer.endpoint = std::move(prepared->endpoint);
  channel->send(FrameTag::kRdmaOffer, offer.encode());

  Result<UpgradeEvent> answered = co_await attempt.next();
  const bool is_answer =
      answered->kind == Kind::kOldFrame && has_tag(answered->frame, FrameTag::kRdmaAnswer);
  if (!is_answer) co_return end_of(*upgrade, *answered);
  const Result<RdmaAnswer> answer = RdmaAnswer::decode(answered->frame.front);
  if (!answer) co_return protocol_failure(answer.error(), "RDMA answer");
  if (answer->endpoint.empty()) {
    co_return stay(*upgrade, std::make_error_code(std::errc::connection_refused),
                   fmt::format("the peer refused it: {}", answer->sentence));
  }

  attempt.complete(answer->endpoint);
  Result<UpgradeEvent> completed = co_await attempt.next();
  if (completed->kind != Kind::kLink) co_return end_of(*upgrade, *completed);
  RdmaProbe probe;
  probe.token = answer->token;
  attempt.new_channel().send(FrameTag::kRdmaProbe, probe.encode());

  Result<UpgradeEvent> proven = co_await attempt.next();
  if (proven->kind != Kind::kNewFrame || !is_probe(proven->frame, offer.token)) {
    co_return end_of(*upgrade, *proven);
  }
  upgrade->succeeded();
  std::unique_ptr<FrameChannel> old = std::exchange(channel, attempt.take_new());
  old->set_tap({});
  setup.dispose(std::move(old));
  co_return std::nullopt;
}

namespace {

// The connector gave it up and goes on over the old link, with this frame.
UpgradeFailure went_back(LinkUpgrade& upgrade, UpgradeTry& attempt, FrameChannel& old,
                         ReceivedFrame frame, const Error& failed = {}) {
  attempt.drop_new();
  old.set_tap({});
  old.put_back(std::move(frame));
  if (failed.code) return stay(upgrade, failed.code, failed.message);
  return stay(upgrade, make_error_code(MsgrErrc::kTimedOut), "the peer went back to the old link");
}

// The acceptor's try, once there is an offer: until one of the two links brings the request.
Task<UpgradeFailure> answer_offer(UpgradeSetup& setup, std::unique_ptr<FrameChannel>& channel,
                                  LinkUpgrade& upgrade, RdmaOffer offer) {
  UpgradeTry attempt(setup, *channel, upgrade);
  RdmaAnswer answer;
  Error failed{{}, {}};
  attempt.prepare();
  Result<UpgradeEvent> prepared = co_await attempt.next();
  if (prepared->kind == Kind::kPrepared && upgrade.is_made_by_connector()) {
    attempt.await_link(offer.endpoint);
    answer.token = random_token();
    answer.endpoint = std::move(prepared->endpoint);
  } else if (prepared->kind == Kind::kPrepared) {
    // Completed before the answer, so that the peer's probe finds this end ready.
    attempt.complete(offer.endpoint);
    Result<UpgradeEvent> completed = co_await attempt.next();
    if (completed->kind == Kind::kOldEnded) co_return lost(*completed);
    if (completed->kind == Kind::kOldFrame) {
      co_return went_back(upgrade, attempt, *channel, std::move(completed->frame));
    }
    if (completed->kind == Kind::kLink) {
      answer.token = random_token();
      answer.endpoint = std::move(prepared->endpoint);
    } else {
      failed = Error{completed->why, completed->sentence};
    }
  } else if (prepared->kind == Kind::kOldEnded) {
    co_return lost(*prepared);
  } else if (prepared->kind == Kind::kOldFrame) {
    co_return went_back(upgrade, attempt, *channel, std::move(prepared->frame));
  } else {
    failed = Error{prepared->why, prepared->sentence};
  }
  answer.sentence = failed.message;
  channel->send(FrameTag::kRdmaAnswer, answer.encode());
  if (answer.endpoint.empty()) co_return stay(upgrade, failed.code, failed.message);
  attempt.stop_timer();  // the old channel's own bounds what follows

  bool is_proven = false;
  for (;;) {
    Result<UpgradeEvent> event = co_await attempt.next();
    if (event->kind == Kind::kOldFrame) {
      co_return went_back(upgrade, attempt, *channel, std::move(event->frame), failed);
    }
    if (event->kind == Kind::kLink) continue;  // it was waited for; its first frame follows
    if (event->kind == Kind::kFailed) {        // the new link; the peer sees it too
      attempt.drop_new();
      is_proven = false;
      failed = Error{event->why, event->sentence};
    } else if (event->kind == Kind::kOldEnded) {
      if (!is_proven || channel->is_closing()) co_return lost(*event);
      break;  // and the request comes over the new link
    } else if (event->kind == Kind::kNewFrame && !is_proven) {
      if (!is_probe(event->frame, answer.token)) {
        attempt.drop_new();
        failed = Error{make_error_code(MsgrErrc::kBadFrame), "the new link carried a wrong probe"};
        continue;
      }
      is_proven = true;
      RdmaProbe probe;
      probe.token = offer.token;
      attempt.new_channel().send(FrameTag::kRdmaProbe, probe.encode());
    } else if (event->kind == Kind::kNewFrame) {
      attempt.new_channel().put_back(std::move(event->frame));
      break;
    }
  }
  upgrade.succeeded();
  std::unique_ptr<FrameChannel> old = std::exchange(channel, attempt.take_new());
  old->set_tap({});
  setup.dispose(std::move(old));
  co_return std::nullopt;
}

}  // namespace

Task<UpgradeFailure> upgrade_as_acceptor(UpgradeSetup setup, std::unique_ptr<FrameChannel>& channel,
                                         uint64_t peer_features, bool is_secure) {
  if (channel->has_ended()) co_return std::nullopt;
  const std::unique_ptr<LinkUpgrade> upgrade = setup.stack.upgrade(setup.center, channel->link());
  if (upgrade == nullptr) co_return std::nullopt;
  if (is_secure) co_return stay_secure(*upgrade);
  if ((peer_features & kFeatureRdma) == 0) co_return stay_without_peer(*upgrade);
  Result<ReceivedFrame> first = co_await channel->receive();
  if (!first) co_return HandshakeFailure(first.error(), first.error().message(), false);
  if (!has_tag(*first, FrameTag::kRdmaOffer)) {
    channel->put_back(std::move(*first));
    co_return stay(*upgrade, std::make_error_code(std::errc::not_connected),
                   "the peer cannot use its RDMA now");
  }
  Result<RdmaOffer> offer = RdmaOffer::decode(first->front);
  if (!offer) co_return protocol_failure(offer.error(), "RDMA offer");
  Task<UpgradeFailure> answering = answer_offer(setup, channel, *upgrade, std::move(*offer));
  UpgradeFailure failure = co_await answering;
  co_return failure;
}

}  // namespace lunar::msgr
