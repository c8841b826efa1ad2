// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/session_connector.h"

#include <optional>

#include "tests/msgr/session/session_fixture.h"

namespace lunar::msgr {
namespace {

// A session's environment that closes channels and waits for them.
class TestEnvironment final : public SessionEnvironment {
 public:
  TestEnvironment(EventCenter& on_center, NetworkStack& on_stack, Dispatcher& to,
                  const MessengerOptions& with, SessionCounters& counting)
      : SessionEnvironment(on_center, on_stack, to, with, nullptr, counting,
                           std::make_shared<DispatchThrottle>(0)) {}
  HandshakeParty make_party(const Link&) const override {
    Hello hello;
    hello.entity = options.entity;
    hello.instance = options.instance;
    hello.nonce = 1;
    return HandshakeParty(std::move(hello), nullptr);
  }
  void dispose(std::unique_ptr<FrameChannel> channel) override { close(std::move(channel)); }
  bool is_shutting_down() const noexcept override { return false; }
  void on_session_ended(Session&) override {}

 private:
  static Detached close(std::unique_ptr<FrameChannel> channel) { co_await channel->close(); }
};

class SessionConnectorTest : public SessionFixture, public SessionConnectorOwner {
 protected:
  SessionConnectorTest()
      : options_(quick_options("client.a")),
        counters_(perf_),
        environment_(*center_, stack_, dispatcher_, options_, counters_) {
    add_server();
    connector_ = std::make_unique<SessionConnector>(environment_, exchange_, *this, 1,
                                                    Policy::kLosslessClient, address_);
  }
  ~SessionConnectorTest() override {
    if (opened_ && *opened_) close_link();
  }
  void session_is_unknown() override {
    ++unknown_count_;
    exchange_.reset();
    if (gives_up_) connector_->give_up(make_error_code(MsgrErrc::kClosed));
  }
  void connect() {
    opened_.reset();
    run();
  }
  bool has_ended() {
    return until([&] { return opened_.has_value(); });
  }
  // The exchange has a link, which goes at once.
  void use_link() {
    const SessionReady& ready = (*opened_)->ready;
    exchange_.begin(ready, ready.cookie, ready.in_seq, Policy::kLosslessClient);
    close_link();
  }
  void close_link() {
    std::unique_ptr<Link>& link = (*opened_)->link;
    if (link == nullptr) return;
    link->set_handler(nullptr);
    bool is_closed = false;
    link->close([&] { is_closed = true; });
    EXPECT_TRUE(until([&] { return is_closed; }));
    link.reset();
  }

  MessengerOptions options_;
  PerfRegistry perf_;
  SessionCounters counters_;
  Recorder dispatcher_;
  TestEnvironment environment_;
  SessionExchange exchange_;
  std::unique_ptr<SessionConnector> connector_;
  std::optional<Result<OpenedLink>> opened_;
  int unknown_count_ = 0;
  bool gives_up_ = false;

 private:
  Detached run() {
    Result<OpenedLink> opened = co_await connector_->connect();
    opened_.emplace(std::move(opened));
  }
};

TEST_F(SessionConnectorTest, GivesALinkThatIsThroughItsHandshake) {
  connect();
  EXPECT_TRUE(connector_->is_connecting());
  ASSERT_TRUE(has_ended());
  ASSERT_TRUE(opened_->has_value());
  EXPECT_FALSE(connector_->is_connecting());
  EXPECT_EQ((*opened_)->greeted.peer.entity, "osd.0");
  EXPECT_TRUE(exchange_.accepts((*opened_)->ready));
}

TEST_F(SessionConnectorTest, AnAttemptThatIsAbortedEndsWithTheReason) {
  connect();
  connector_->abort(make_error_code(MsgrErrc::kConnectionRace));
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(opened_->error(), MsgrErrc::kConnectionRace);
  EXPECT_FALSE(connector_->is_connecting());
}

TEST_F(SessionConnectorTest, AnAttemptThatIsGivenUpGivesNoLink) {
  connect();
  connector_->give_up(make_error_code(MsgrErrc::kClosed));
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(opened_->error(), MsgrErrc::kClosed);
  EXPECT_EQ(counters_.handshakes_failed.value(), 1u);
}

TEST_F(SessionConnectorTest, WithoutAnAttemptNothingIsToBeAborted) {
  connector_->give_up(make_error_code(MsgrErrc::kClosed));
  connector_->abort(make_error_code(MsgrErrc::kClosed));
  connect();
  ASSERT_TRUE(has_ended());
  EXPECT_TRUE(opened_->has_value());
}

TEST_F(SessionConnectorTest, AServerThatForgotTheSessionIsAskedForANewOneOnTheSameLink) {
  connect();
  ASSERT_TRUE(has_ended());
  use_link();
  shut_down(*nodes_[0]);
  Node& again = add_node(quick_options("osd.0"));
  ASSERT_TRUE(again.messenger->bind(address_, Policy::kStatefulServer).has_value());
  connect();
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(unknown_count_, 1);
  ASSERT_TRUE(opened_->has_value());
  EXPECT_EQ(again.events.opens, 1);
}

TEST_F(SessionConnectorTest, OneThatIsGivenUpMeanwhileIsNotAskedAgain) {
  connect();
  ASSERT_TRUE(has_ended());
  use_link();
  shut_down(*nodes_[0]);
  Node& again = add_node(quick_options("osd.0"));
  ASSERT_TRUE(again.messenger->bind(address_, Policy::kStatefulServer).has_value());
  gives_up_ = true;
  connect();
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(opened_->error(), MsgrErrc::kClosed);
  EXPECT_EQ(again.events.opens, 0);
}

TEST_F(SessionConnectorTest, APeerThatCannotBeReachedIsAnError) {
  shut_down(*nodes_[0]);
  connect();
  ASSERT_TRUE(has_ended());
  EXPECT_EQ(opened_->error(), std::errc::connection_refused);
}

}  // namespace
}  // namespace lunar::msgr
