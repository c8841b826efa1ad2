// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/clients/client_sessions.h"

#include <list>

#include "tests/osd/ops/executor_fixture.h"
#include "tests/support/inert_connection.h"

namespace lunar::osd {
namespace {

class FakeConnection final : public test::InertConnection {
 public:
  FakeConnection(msgr::EventCenter& center, std::string entity, uint64_t nonce,
                 std::string instance)
      : test::InertConnection(center) {
    msgr::PeerIdentity peer;
    peer.entity = std::move(entity);
    peer.instance = std::move(instance);
    peer.nonce = nonce;
    set_peer(peer);
  }
};

// Executes nothing: the test ends each op.
class ClientSessionsTest : public StoreFixture, public ClientSessionsHost {
 protected:
  struct Reply {
    const msgr::Connection* connection;
    Tid tid;
    uint32_t attempt;
    OsdErrc error;
    friend bool operator==(const Reply&, const Reply&) = default;
  };

  ClientSessionsTest() { make_sessions({}); }
  ~ClientSessionsTest() override { turn(); }
  void make_sessions(ClientSessions::Options options) {
    sessions.reset();
    if (!fences) fences = std::move(*FenceTable::load(*store));
    sessions = std::make_unique<ClientSessions>(*this, *fences, options);
  }
  FakeConnection& connect(std::string entity, uint64_t nonce, std::string instance = "host") {
    FakeConnection& connection = *connections.emplace_back(
        std::make_shared<FakeConnection>(*center, std::move(entity), nonce, std::move(instance)));
    ids[&connection] = sessions->open(connection);
    return connection;
  }
  void disconnect(FakeConnection& connection) {
    sessions->close(connection, ids.at(&connection), {});
  }
  void submit(FakeConnection& connection, Vector vector) {
    sessions->submit(connection, ids.at(&connection), vector.op());
    turn();  // a first change is recorded before it is executed
  }
  void write(FakeConnection& connection, Tid tid, Tid oldest = 1) {
    submit(connection, Vector("a").write(0, "x").tid(tid, oldest));
  }
  void end(Tid tid, OsdErrc error = OsdErrc::kOk) {
    const auto at = std::find_if(running.begin(), running.end(),
                                 [&](const ClientOpRef& op) { return op->header.tid == tid; });
    ASSERT_NE(at, running.end());
    const ClientOpRef op = *at;
    running.erase(at);
    auto result = std::make_shared<OpResult>();
    result->header.tid = tid;
    result->header.error = error;
    sessions->on_executed(op, result);
    turn();
  }
  std::vector<Tid> running_tids() const {
    std::vector<Tid> tids;
    for (const ClientOpRef& op : running) tids.push_back(op->header.tid);
    return tids;
  }

  void execute(ClientOpRef op) override { running.push_back(std::move(op)); }
  std::vector<ClientOpRef> take_back(const std::vector<ClientOpRef>& ops) override {
    ++times_taken_back;
    std::vector<ClientOpRef> taken;
    for (const ClientOpRef& op : ops) {
      if (!queued.contains(op->header.tid)) continue;
      std::erase(running, op);
      taken.push_back(op);
    }
    return taken;
  }
  void send_reply(msgr::Connection& connection, const ClientOp& op, OpResultRef result) override {
    replies.push_back({&connection, op.header.tid, op.header.attempt, result->header.error});
  }
  void send_cancelled(msgr::Connection&, Tid tid) override { cancelled.push_back(tid); }

  std::unique_ptr<FenceTable> fences;
  std::unique_ptr<ClientSessions> sessions;
  std::list<std::shared_ptr<FakeConnection>> connections;
  std::map<const FakeConnection*, ClientSessions::SessionId> ids;
  std::vector<ClientOpRef> running;
  std::set<Tid> queued;  // of those, not begun
  int times_taken_back = 0;
  std::vector<Reply> replies;
  std::vector<Tid> cancelled;
};

TEST_F(ClientSessionsTest, AnEntityPushesOutItselfAndNobodyElse) {
  make_sessions({.max_sessions = 8, .max_sessions_of_entity = 3});
  const auto come_and_go = [&](const std::string& entity, uint64_t nonce) {
    FakeConnection& connection = connect(entity, nonce);
    write(connection, 1);
    if (!running.empty()) end(1);
    disconnect(connection);
  };
  come_and_go("client.good", 1);
  for (uint64_t nonce = 1; nonce <= 50; ++nonce) come_and_go("client.evil", nonce);
  EXPECT_LE(sessions->size(), 4u);
  FakeConnection& good = connect("client.good", 1);
  replies.clear();
  write(good, 1);
  EXPECT_TRUE(running.empty()) << "its result is still remembered";
  ASSERT_EQ(replies.size(), 1u);
}

TEST_F(ClientSessionsTest, AnEntityHasOnlySoManySessionsAtATime) {
  make_sessions({.max_sessions = 8, .max_sessions_of_entity = 1});
  connect("client.a", 1);
  FakeConnection& second = connect("client.a", 2);
  write(second, 1);
  EXPECT_EQ(replies.back().error, OsdErrc::kBusy);
  FakeConnection& other = connect("client.b", 1);
  write(other, 1);
  EXPECT_EQ(running.size(), 1u);
  end(1);
}

TEST_F(ClientSessionsTest, ReadsWaitWhileTheRepliesOfTheSessionHoldTheirShare) {
  make_sessions({.reply_bytes = 100'000});
  FakeConnection& a = connect("client.a", 1);
  FakeConnection& b = connect("client.b", 1);
  const auto read = [&](FakeConnection& connection, Tid tid) {
    submit(connection, Vector("a").read(0, 30'000).tid(tid));
  };
  for (Tid tid = 1; tid <= 6; ++tid) read(a, tid);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{1, 2, 3, 4}));
  read(b, 11);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{1, 2, 3, 4, 11})) << "it has a share of its own";
  end(1);
  end(2);
  sessions->begin_held();
  EXPECT_EQ(running_tids(), (std::vector<Tid>{3, 4, 11, 5}));
  for (const Tid tid : std::vector<Tid>{3, 4, 11, 5}) end(tid);
  sessions->begin_held();
  end(6);
}

TEST_F(ClientSessionsTest, AResendOfAnExecutedChangeIsAnsweredFromMemory) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  end(1, OsdErrc::kMiscompare);
  Vector again("a");
  again.write(0, "x").tid(1);
  const ClientOpRef op = again.op();
  op->header.attempt = 2;
  sessions->submit(a, ids.at(&a), op);
  EXPECT_TRUE(running.empty());
  ASSERT_EQ(replies.size(), 2u);
  EXPECT_EQ(replies[1], (Reply{&a, 1, 2, OsdErrc::kMiscompare}));
}

TEST_F(ClientSessionsTest, AResendOfAnExecutingOpWaitsForIt) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  Vector again("a");
  const ClientOpRef op = again.write(0, "x").tid(1).op();
  op->header.attempt = 2;
  sessions->submit(a, ids.at(&a), op);
  EXPECT_EQ(running.size(), 1u);
  end(1);
  EXPECT_EQ(replies, (std::vector<Reply>{{&a, 1, 2, OsdErrc::kOk}}));
}

TEST_F(ClientSessionsTest, AReadIsExecutedAgain) {
  FakeConnection& a = connect("client.a", 1);
  submit(a, Vector("a").read(0, 1).tid(1));
  end(1);
  submit(a, Vector("a").read(0, 1).tid(1));
  EXPECT_EQ(running_tids(), (std::vector<Tid>{1}));
}

TEST_F(ClientSessionsTest, ANewConnectionOfTheSameStartIsAnsweredFromMemory) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  disconnect(a);
  end(1);
  EXPECT_TRUE(replies.empty());
  EXPECT_TRUE(sessions->remembers(a.peer()));
  FakeConnection& b = connect("client.a", 1);
  write(b, 1);
  EXPECT_EQ(replies, (std::vector<Reply>{{&b, 1, 1, OsdErrc::kOk}}));
}

TEST_F(ClientSessionsTest, AConnectionThatIsStillUpIsAnsweredAfterANewerOneClosed) {
  FakeConnection& a = connect("client.a", 1);
  FakeConnection& b = connect("client.a", 1);
  ASSERT_EQ(ids.at(&a), ids.at(&b));
  write(b, 1);
  write(b, 2);
  end(1);
  EXPECT_EQ(replies, (std::vector<Reply>{{&b, 1, 1, OsdErrc::kOk}}));
  disconnect(b);
  write(a, 1);  // remembered
  EXPECT_EQ(replies.back(), (Reply{&a, 1, 1, OsdErrc::kOk}));
  end(2);
  EXPECT_EQ(replies.back(), (Reply{&a, 2, 1, OsdErrc::kOk})) << "it came by the other";
  sessions->cancel(a, ids.at(&a), 3);
  EXPECT_EQ(cancelled, (std::vector<Tid>{3}));
}

TEST_F(ClientSessionsTest, RepliesFollowTheConnectionThatWasHeardLast) {
  FakeConnection& a = connect("client.a", 1);
  FakeConnection& b = connect("client.a", 1);
  write(a, 1);
  end(1);
  EXPECT_EQ(replies, (std::vector<Reply>{{&a, 1, 1, OsdErrc::kOk}}));
  disconnect(a);
  write(b, 1);
  EXPECT_EQ(replies.back(), (Reply{&b, 1, 1, OsdErrc::kOk}));
}

TEST_F(ClientSessionsTest, WhatOneConnectionDeliveredIsNotForgottenForAnother) {
  make_sessions({.limits = {.max_results = 1}});
  FakeConnection& a = connect("client.a", 1);
  FakeConnection& b = connect("client.a", 1);
  write(b, 1);
  end(1);
  sessions->on_delivered(ids.at(&b), b.id(), 1);
  write(a, 1);  // sent again, as if the reply had been lost
  EXPECT_EQ(replies.back(), (Reply{&a, 1, 1, OsdErrc::kOk}));
  write(a, 2);
  EXPECT_TRUE(running.empty()) << "the result of 1 is on its way to it";
  sessions->on_delivered(ids.at(&a), a.id(), 1);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{2}));
  end(2);
}

TEST_F(ClientSessionsTest, ResultsAreForgottenWhenTheClientHasSeenThem) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  end(1);
  write(a, 2, 2);
  write(a, 1, 2);  // below oldest_tid and unknown: an op that has moved here from another server
  EXPECT_EQ(running_tids(), (std::vector<Tid>{2, 1}));
}

TEST_F(ClientSessionsTest, AtTheLimitNewOpsWaitUntilAReplyWasDelivered) {
  make_sessions({.limits = {.max_results = 2}});
  FakeConnection& a = connect("client.a", 1);
  for (Tid tid = 1; tid <= 2; ++tid) {
    write(a, tid);
    end(tid);
  }
  write(a, 3);
  EXPECT_TRUE(running.empty());
  sessions->on_delivered(ids.at(&a), a.id() + 1, 1);
  EXPECT_TRUE(running.empty()) << "another connection's reply proves nothing";
  sessions->on_delivered(ids.at(&a), a.id(), 1);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{3}));
}

TEST_F(ClientSessionsTest, AnOpThatIsHeldTooLongIsToldToComeAgain) {
  make_sessions({.limits = {.max_results = 1}});
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  end(1);
  write(a, 2);  // the reply to 1 is not acknowledged
  EXPECT_TRUE(running.empty());
  const ClientSessions::TimePoint arrived{};  // as all ops of this test
  sessions->answer_held(arrived - std::chrono::seconds(1));
  EXPECT_EQ(replies.size(), 1u);
  sessions->answer_held(arrived);
  EXPECT_EQ(replies.back(), (Reply{&a, 2, 1, OsdErrc::kRetryInline}));
  EXPECT_FALSE(sessions->knows(ids.at(&a), 2)) << "it was not executed, and may come again";
  sessions->on_delivered(ids.at(&a), a.id(), 1);
  write(a, 2);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{2}));
  end(2);
}

TEST_F(ClientSessionsTest, NoMoreOpsAreHeldThanTheLimit) {
  make_sessions({.limits = {.max_results = 1, .max_held = 2}});
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  end(1);
  for (Tid tid = 2; tid <= 4; ++tid) write(a, tid);
  EXPECT_EQ(replies.back(), (Reply{&a, 4, 1, OsdErrc::kBusy}));
  sessions->on_delivered(ids.at(&a), a.id(), 1);
  end(2);
}

TEST_F(ClientSessionsTest, AtTheLimitAnOpThatSawMoreMakesRoom) {
  make_sessions({.limits = {.max_results = 2}});
  FakeConnection& a = connect("client.a", 1);
  for (Tid tid = 1; tid <= 2; ++tid) {
    write(a, tid);
    end(tid);
  }
  write(a, 3);
  write(a, 4, 3);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{3, 4}));
}

TEST_F(ClientSessionsTest, CancelOfAQueuedOpRemovesIt) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  queued.insert(1);
  sessions->cancel(a, ids.at(&a), 1);
  EXPECT_TRUE(running.empty());
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
  write(a, 1);  // the answer stays the same
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].error, OsdErrc::kCancelled);
}

TEST_F(ClientSessionsTest, CancelOfAnExecutingOpWaitsAndTellsTheTruth) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  sessions->cancel(a, ids.at(&a), 1);
  EXPECT_TRUE(cancelled.empty());
  end(1);
  EXPECT_EQ(replies, (std::vector<Reply>{{&a, 1, 1, OsdErrc::kOk}}));
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
}

TEST_F(ClientSessionsTest, CancelOfWhatWasExecutedRepeatsTheReplyThatWasLost) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  end(1, OsdErrc::kMiscompare);
  disconnect(a);  // the reply was on its way
  FakeConnection& b = connect("client.a", 1);
  sessions->cancel(b, ids.at(&b), 1);
  EXPECT_EQ(replies.back(), (Reply{&b, 1, 1, OsdErrc::kMiscompare}));
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
}

TEST_F(ClientSessionsTest, CancelOfWhatWasDeliveredSaysNoMore) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  end(1);
  sessions->on_delivered(ids.at(&a), a.id(), 1);
  sessions->cancel(a, ids.at(&a), 1);
  EXPECT_EQ(replies.size(), 1u);
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
}

TEST_F(ClientSessionsTest, AnOpThatMovedHereIsRememberedToo) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 7, 7);
  end(7);
  write(a, 1, 1);  // from another server that a new map took its PG from
  end(1, OsdErrc::kMiscompare);
  write(a, 1, 1);  // its reply was lost
  EXPECT_TRUE(running.empty());
  EXPECT_EQ(replies.back(), (Reply{&a, 1, 1, OsdErrc::kMiscompare}));
  write(a, 8, 8);
  EXPECT_FALSE(sessions->knows(ids.at(&a), 1));
  end(8);
}

TEST_F(ClientSessionsTest, AnExecutingOpHearsThatItWasGivenUp) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  write(a, 2);
  ASSERT_EQ(running.size(), 2u);
  sessions->cancel(a, ids.at(&a), 1);
  EXPECT_TRUE(running[0]->is_given_up);
  EXPECT_FALSE(running[1]->is_given_up);
  connect("client.a", 2);  // fences the older start
  EXPECT_TRUE(running[1]->is_given_up);
  end(1);
  end(2);
}

TEST_F(ClientSessionsTest, AnOpThatStoppedForACancelIsNotExecutedIfItComesAgain) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  sessions->cancel(a, ids.at(&a), 1);
  end(1, OsdErrc::kRetryInline);
  EXPECT_EQ(replies, (std::vector<Reply>{{&a, 1, 1, OsdErrc::kRetryInline}}));
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
  write(a, 1);
  EXPECT_TRUE(running.empty());
  EXPECT_EQ(replies.back(), (Reply{&a, 1, 1, OsdErrc::kCancelled}));
}

TEST_F(ClientSessionsTest, CancelThatOvertakesItsOpHolds) {
  FakeConnection& a = connect("client.a", 1);
  sessions->cancel(a, ids.at(&a), 1);
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
  write(a, 1);
  EXPECT_TRUE(running.empty());
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].error, OsdErrc::kCancelled);
}

TEST_F(ClientSessionsTest, ANewerStartFencesTheOlderAndWaitsForWhatExecutes) {
  FakeConnection& old_one = connect("client.a", 1);
  write(old_one, 1);
  write(old_one, 2);
  queued.insert(2);
  FakeConnection& new_one = connect("client.a", 2);
  EXPECT_EQ(replies, (std::vector<Reply>{{&old_one, 2, 1, OsdErrc::kFenced}})) << "dropped";
  write(new_one, 1);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{1})) << "the old start's; the new one waits";
  EXPECT_EQ(running[0]->session, ids.at(&old_one));
  end(1);
  EXPECT_EQ(replies.back(), (Reply{&old_one, 1, 1, OsdErrc::kOk})) << "it did happen";
  ASSERT_EQ(running.size(), 1u);
  EXPECT_EQ(running[0]->session, ids.at(&new_one));
  write(old_one, 3);
  EXPECT_EQ(replies.back(), (Reply{&old_one, 3, 1, OsdErrc::kFenced}));
}

TEST_F(ClientSessionsTest, AnOlderStartThatComesLateIsFenced) {
  connect("client.a", 2);
  FakeConnection& old_one = connect("client.a", 1);
  write(old_one, 1);
  EXPECT_EQ(replies, (std::vector<Reply>{{&old_one, 1, 1, OsdErrc::kFenced}}));
}

TEST_F(ClientSessionsTest, AStartThatWroteFencesOlderOnesAfterARestart) {
  write(connect("client.a", 2), 1);
  end(1);
  fences = std::move(*FenceTable::load(*store));
  make_sessions({});
  FakeConnection& old_one = connect("client.a", 1);
  write(old_one, 1);
  ASSERT_FALSE(replies.empty());
  EXPECT_EQ(replies.back().error, OsdErrc::kFenced);
}

TEST_F(ClientSessionsTest, ClientsOfOneKeyOnTwoHostsDoNotFenceEachOther) {
  FakeConnection& a = connect("client.a", 1);
  FakeConnection& b = connect("client.b", 2);
  write(a, 1);
  write(b, 1);
  EXPECT_EQ(running.size(), 2u);
}

TEST_F(ClientSessionsTest, AnOperatorsFenceHoldsUntilANewerStart) {
  FakeConnection& a = connect("client.a", 5);
  const ClientName name{"client.a", "host"};
  fences->fence(name, 5, [](std::error_code) {});
  sessions->fence(name, 5, [](bool) {});
  write(a, 1);
  EXPECT_EQ(replies.back().error, OsdErrc::kFenced);
  disconnect(a);
  FakeConnection& again = connect("client.a", 5);
  write(again, 1);
  EXPECT_EQ(replies.back().error, OsdErrc::kFenced);
  FakeConnection& newer = connect("client.a", 6);
  write(newer, 1);
  EXPECT_EQ(running.size(), 1u);
}

TEST_F(ClientSessionsTest, ALiveSessionIsLetInAgainByUnfence) {
  FakeConnection& a = connect("client.a", 5);
  const ClientName name{"client.a", "host"};
  fences->fence(name, 5, [](std::error_code) {});
  sessions->fence(name, 5, [](bool) {});
  write(a, 1);
  EXPECT_EQ(replies.back().error, OsdErrc::kFenced);
  fences->unfence(name, [](std::error_code) {});
  turn();
  sessions->unfence(name);
  write(a, 2);
  EXPECT_EQ(running.size(), 1u);
}

TEST_F(ClientSessionsTest, AStartThatANewerOneFencedIsNotLetInByUnfence) {
  FakeConnection& older = connect("client.a", 5);
  connect("client.a", 6);
  fences->unfence({"client.a", "host"}, [](std::error_code) {});
  turn();
  sessions->unfence({"client.a", "host"});
  write(older, 1);
  EXPECT_EQ(replies.back().error, OsdErrc::kFenced);
}

TEST_F(ClientSessionsTest, AnOperatorsFenceAnswersWhenNothingExecutesAnyMore) {
  FakeConnection& a = connect("client.a", 5);
  write(a, 1);
  bool fenced = false;
  fences->fence({"client.a", "host"}, 5, [](std::error_code) {});
  sessions->fence({"client.a", "host"}, 5, [&](bool is_fenced) { fenced = is_fenced; });
  EXPECT_FALSE(fenced);
  end(1);
  EXPECT_TRUE(fenced);
}

TEST_F(ClientSessionsTest, AFenceThatIsLiftedWhileItWaitsSaysSo) {
  FakeConnection& a = connect("client.a", 5);
  const ClientName name{"client.a", "host"};
  write(a, 1);
  fences->fence(name, 5, [](std::error_code) {});
  std::optional<bool> fenced;
  sessions->fence(name, 5, [&](bool is_fenced) { fenced = is_fenced; });
  EXPECT_FALSE(fenced);
  fences->unfence(name, [](std::error_code) {});
  turn();
  sessions->unfence(name);
  EXPECT_EQ(fenced, false);
  end(1);
}

// Its op ends when the session is not a fenced one any more.
TEST_F(ClientSessionsTest, ATakeoverIsNotLiftedAndAnswersWhenNothingExecutesAnyMore) {
  FakeConnection& a = connect("client.a", 5);
  const ClientName name{"client.a", "host"};
  write(a, 1);
  fences->replace(name, 5, [](std::error_code) {});
  std::optional<bool> fenced;
  sessions->fence(name, 5, [&](bool is_fenced) { fenced = is_fenced; });
  fences->unfence(name, [](std::error_code) {});
  turn();
  sessions->unfence(name);
  EXPECT_FALSE(fenced);
  write(a, 2);
  EXPECT_EQ(replies.back().error, OsdErrc::kFenced);
  end(1);
  EXPECT_EQ(fenced, true);
  FakeConnection& newer = connect("client.a", 6);
  write(newer, 1);
  EXPECT_EQ(running.size(), 1u);
}

TEST_F(ClientSessionsTest, WhoIsRevokedIsTakenBackAsFarAsItHasNotBegun) {
  FakeConnection& a = connect("client.a", 5);
  FakeConnection& b = connect("client.b", 5);
  write(a, 1);
  queued = {2};
  write(a, 2);
  submit(b, Vector("b").write(0, "x").tid(7));
  bool is_over = false;
  const auto revoked = sessions->revoke("client.a", [&] { is_over = true; });
  EXPECT_EQ(revoked, (std::set<ClientSessions::SessionId>{ids.at(&a)}));
  EXPECT_EQ(running_tids(), (std::vector<Tid>{1, 7}));
  EXPECT_FALSE(is_over) << "one is in the store";
  end(1);
  EXPECT_TRUE(is_over);
  EXPECT_TRUE(replies.empty()) << "nobody is answered";
  disconnect(a);
  end(7);
  EXPECT_EQ(replies.size(), 1u);
  EXPECT_EQ(sessions->size(), 1u);
}

TEST_F(ClientSessionsTest, WhoIsRevokedAndLetInAgainBeginsAnew) {
  FakeConnection& a = connect("client.a", 5);
  write(a, 1);
  end(1);
  bool is_over = false;
  sessions->revoke("client.a", [&] { is_over = true; });
  EXPECT_TRUE(is_over);
  EXPECT_FALSE(sessions->remembers(a.peer()));
  FakeConnection& again = connect("client.a", 5);
  write(again, 1);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{1}));
  end(1);
}

// What is taken back makes room for what waits behind it, which must not be of the same entity.
TEST_F(ClientSessionsTest, WhatSessionsThatEndTogetherHaveSentIsTakenBackAtOnce) {
  write(connect("client.a", 1, "one"), 1);
  write(connect("client.a", 1, "two"), 2);
  write(connect("client.b", 1, "one"), 3);
  queued = {1, 2, 3};
  fences->fence_entity("client.a", [](std::error_code) {});
  std::optional<bool> is_fenced;
  sessions->fence_entity("client.a", [&](bool fenced) { is_fenced = fenced; });
  EXPECT_EQ(times_taken_back, 1);
  EXPECT_EQ(is_fenced, true);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{3}));
  ASSERT_EQ(replies.size(), 2u);
  for (const Reply& reply : replies) EXPECT_EQ(reply.error, OsdErrc::kFenced);
  write(connect("client.c", 1, "one"), 4);
  write(connect("client.c", 1, "two"), 5);
  queued = {4, 5};
  sessions->revoke("client.c", [] {});
  EXPECT_EQ(times_taken_back, 2);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{3}));
  end(3);
}

TEST_F(ClientSessionsTest, AnEntitysFenceAnswersWhenNothingOfAnyOfItsClientsExecutes) {
  write(connect("client.a", 1, "one"), 1);
  write(connect("client.a", 1, "two"), 2);
  fences->fence_entity("client.a", [](std::error_code) {});
  std::optional<bool> is_fenced;
  sessions->fence_entity("client.a", [&](bool fenced) { is_fenced = fenced; });
  end(2);
  EXPECT_FALSE(is_fenced);
  end(1);
  EXPECT_EQ(is_fenced, true);
}

TEST_F(ClientSessionsTest, WhoComesWhileAFenceIsRecordedIsServedIfThatFails) {
  store->fail_next(FaultyStore::Call::kRecord, make_error_code(std::errc::io_error));
  fences->fence({"client.a", "host"}, 5, [this](std::error_code error) {
    EXPECT_TRUE(error);
    sessions->unfence({"client.a", "host"});
  });
  FakeConnection& a = connect("client.a", 5);
  submit(a, Vector("a").read(0, 1).tid(1));  // turns the loop when it is here
  EXPECT_EQ(replies, (std::vector<Reply>{{&a, 1, 1, OsdErrc::kFenced}}));
  submit(a, Vector("a").read(0, 1).tid(2));
  EXPECT_EQ(running_tids(), (std::vector<Tid>{2}));
  end(2);
}

TEST_F(ClientSessionsTest, SessionsWithoutAConnectionExpire) {
  using std::chrono::seconds;
  make_sessions({.timeout = seconds(60)});
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  disconnect(a);
  const ClientSessions::TimePoint start{};
  sessions->expire(start + seconds(120));
  EXPECT_EQ(sessions->size(), 1u) << "an op of it executes";
  end(1);
  sessions->expire(start + seconds(59));
  EXPECT_EQ(sessions->size(), 1u);
  sessions->expire(start + seconds(60));
  EXPECT_EQ(sessions->size(), 0u);
}

TEST_F(ClientSessionsTest, ASessionWithAConnectionUpDoesNotExpire) {
  FakeConnection& older = connect("client.a", 1);
  FakeConnection& newer = connect("client.a", 1);
  disconnect(newer);
  sessions->expire(ClientSessions::TimePoint() + std::chrono::hours(1));
  write(older, 1);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{1}));
  end(1);
}

TEST_F(ClientSessionsTest, TooManyClientsAreToldSo) {
  make_sessions({.max_sessions = 1});
  connect("client.a", 1);
  FakeConnection& b = connect("client.b", 1);
  write(b, 1);
  EXPECT_EQ(replies.back().error, OsdErrc::kBusy);
}

}  // namespace
}  // namespace lunar::osd
