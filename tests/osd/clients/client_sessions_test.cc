// SPDX-License-Identifier: LGPL-2.1-or-later
#include <nlohmann/json.hpp>

#include "tests/osd/clients/client_sessions_fixture.h"

namespace lunar::osd {
namespace {

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

TEST_F(ClientSessionsTest, RepliesWithAnyDataCountForTheShare) {
  constexpr Tid kAsked = 100;
  for (const auto& [code, length] :
       std::vector<std::pair<OpCode, uint64_t>>{{OpCode::kList, 5000},
                                                {OpCode::kMapExtents, 1u << 30},
                                                {OpCode::kGetXattr, 0},
                                                {OpCode::kListWatchers, 0}}) {
    make_sessions({.reply_bytes = 4u << 20});
    FakeConnection& a = connect("client.a", 1);
    FakeConnection& b = connect("client.b", 1);
    const auto ask = [&, code = code, length = length](FakeConnection& connection, Tid tid) {
      submit(connection, Vector("a").add(code, 0, length, {}, 0, "x").tid(tid));
    };
    for (Tid tid = 1; tid <= kAsked; ++tid) ask(a, tid);
    const std::size_t executing = running.size();
    EXPECT_LT(executing, kAsked) << static_cast<int>(code);
    ask(b, kAsked + 1);
    EXPECT_EQ(running.size(), executing + 1) << "it has a share of its own";
    while (!running.empty()) {
      end(running_tids().front());
      sessions->begin_held();
    }
    EXPECT_EQ(replies.size(), kAsked + 1);
    replies.clear();
  }
}

// Who is notified answers with an op, and may have to read before.
TEST_F(ClientSessionsTest, ANotifyTakesNothingOfTheShareOfReplies) {
  make_sessions({.reply_bytes = 4u << 20});
  FakeConnection& a = connect("client.a", 1);
  for (Tid tid = 1; tid <= 100; ++tid)
    submit(a, Vector("a").add(OpCode::kNotify, 0, 1000).tid(tid));
  submit(a, Vector("a").read(0, 30'000).tid(101));
  EXPECT_EQ(running.size(), 101u);
  is_reading = false;
  for (const ClientOpRef& op : std::vector(running)) {
    auto result = std::make_shared<OpResult>();
    result->header.tid = op->header.tid;
    if (op->is(OpCode::kNotify)) result->data.emplace_back().small.resize(1u << 20);
    std::erase(running, op);
    sessions->on_executed(op, result);
  }
  FakeConnection& b = connect("client.b", 1);
  submit(b, Vector("a").read(0, 1'000'000).tid(102));
  ASSERT_EQ(running.size(), 1u)
      << "what another has been told, and has not read, is in no READ's way";
  end(102);
}

TEST_F(ClientSessionsTest, WhatIsRememberedOfAllStartsOfAnEntityIsBounded) {
  make_sessions({.result_bytes = 96'000});
  std::vector<FakeConnection*> starts;
  for (int i = 0; i < 8; ++i) starts.push_back(&connect("client.a", 1, "host" + std::to_string(i)));
  Tid tid = 0;
  for (FakeConnection* const start : starts) {
    for (int i = 0; i < 100; ++i) {
      write(*start, ++tid);
      if (!running.empty()) end(tid);
    }
  }
  const std::size_t executed = replies.size();
  EXPECT_GE(executed, 180u);
  EXPECT_LE(executed, 8u * 64u + 188u) << "half of 375 results, or 64 of each start";
  FakeConnection& other = connect("client.b", 1);
  write(other, ++tid);
  ASSERT_EQ(running.size(), 1u) << "others are not concerned";
  end(tid);
  // What they have heard of makes room.
  for (FakeConnection* const start : starts)
    for (Tid each = 1; each < tid; ++each) sessions->on_delivered(ids.at(start), start->id(), each);
  EXPECT_FALSE(running.empty());
  while (!running.empty()) end(running_tids().front());
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
  sessions->cancel(a, ids.at(&a), {3});
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
  EXPECT_FALSE(sessions->knows(ids.at(&a), 2, 1)) << "it was not executed, and may come again";
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

TEST_F(ClientSessionsTest, AnEntityHoldsNoMoreOpsThanItsShareHoweverManyStartsItHas) {
  make_sessions({.limits = {.max_results = 1}, .max_held = 400});
  const auto fill = [&](const std::string& entity) {
    const std::size_t before = replies.size();
    for (int i = 0; i < 8; ++i) {
      FakeConnection& start = connect(entity, 1, "host" + std::to_string(i));
      write(start, 1);
      end(1);
      for (Tid tid = 2; tid <= 101; ++tid) write(start, tid);
    }
    std::size_t refused = 0;
    for (std::size_t i = before; i < replies.size(); ++i)
      refused += replies[i].error == OsdErrc::kBusy ? 1 : 0;
    return 8 * 100 - refused;
  };
  const std::size_t held = fill("client.a");
  EXPECT_GE(held, 190u);
  EXPECT_LE(held, 200u + 8 * 16u);
  EXPECT_GE(fill("client.b"), 8 * 16u) << "there is room for others";
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
  sessions->cancel(a, ids.at(&a), {1});
  EXPECT_TRUE(running.empty());
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
  write(a, 1);  // the answer stays the same
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].error, OsdErrc::kCancelled);
}

TEST_F(ClientSessionsTest, CancelOfAnExecutingOpWaitsAndTellsTheTruth) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  sessions->cancel(a, ids.at(&a), {1});
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
  sessions->cancel(b, ids.at(&b), {1});
  EXPECT_EQ(replies.back(), (Reply{&b, 1, 1, OsdErrc::kMiscompare}));
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
}

TEST_F(ClientSessionsTest, CancelOfWhatWasDeliveredSaysNoMore) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  end(1);
  sessions->on_delivered(ids.at(&a), a.id(), 1);
  sessions->cancel(a, ids.at(&a), {1});
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
  EXPECT_FALSE(sessions->knows(ids.at(&a), 1, 1));
  end(8);
}

TEST_F(ClientSessionsTest, AnOpThatWasGivenUpToAnotherServerIsExecutedWhenItComesBack) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  queued.insert(1);
  sessions->cancel(a, ids.at(&a), {1, 2});
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
  EXPECT_TRUE(sessions->knows(ids.at(&a), 1, 2)) << "a sending from before the cancel";
  EXPECT_FALSE(sessions->knows(ids.at(&a), 1, 3));
  write(a, 1);
  EXPECT_EQ(replies.back(), (Reply{&a, 1, 1, OsdErrc::kCancelled}));
  queued.clear();
  write(a, 1, 1, 3);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{1}));
  end(1);
  EXPECT_EQ(replies.back(), (Reply{&a, 1, 3, OsdErrc::kOk}));
}

TEST_F(ClientSessionsTest, AnOpThatWasExecutedBeforeItWasGivenUpKeepsItsAnswer) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  sessions->cancel(a, ids.at(&a), {1, 1});
  end(1, OsdErrc::kMiscompare);
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
  write(a, 1, 1, 2);
  EXPECT_TRUE(running.empty());
  EXPECT_EQ(replies.back(), (Reply{&a, 1, 2, OsdErrc::kMiscompare}));
}

TEST_F(ClientSessionsTest, AnOpThatStoppedAsItWasGivenUpIsExecutedWhenItComesBack) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  sessions->cancel(a, ids.at(&a), {1, 1});
  end(1, OsdErrc::kRetryInline);
  write(a, 1, 1, 2);
  EXPECT_EQ(running_tids(), (std::vector<Tid>{1}));
  end(1);
}

TEST_F(ClientSessionsTest, AnExecutingOpHearsThatItWasGivenUp) {
  FakeConnection& a = connect("client.a", 1);
  write(a, 1);
  write(a, 2);
  ASSERT_EQ(running.size(), 2u);
  sessions->cancel(a, ids.at(&a), {1});
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
  sessions->cancel(a, ids.at(&a), {1});
  end(1, OsdErrc::kRetryInline);
  EXPECT_EQ(replies, (std::vector<Reply>{{&a, 1, 1, OsdErrc::kRetryInline}}));
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
  write(a, 1);
  EXPECT_TRUE(running.empty());
  EXPECT_EQ(replies.back(), (Reply{&a, 1, 1, OsdErrc::kCancelled}));
}

TEST_F(ClientSessionsTest, CancelledNamesTheSendingsThatWereCancelled) {
  FakeConnection& a = connect("a", 1);
  sessions->cancel(a, ids.at(&a), {1, 3});
  write(a, 2, 1, 2);
  sessions->cancel(a, ids.at(&a), {2, 2});
  end(2);
  sessions->cancel(a, ids.at(&a), {4});
  EXPECT_EQ(cancelled, (std::vector<Tid>{1, 2, 4}));
  EXPECT_EQ(given_up, (std::vector<uint32_t>{3, 2, 0}));
}

// What it was told of first is not executed because there was an earlier cancel.
TEST_F(ClientSessionsTest, ASecondCancelIsForLaterSendingsAsWell) {
  FakeConnection& a = connect("a", 1);
  sessions->cancel(a, ids.at(&a), {1, 1});
  sessions->cancel(a, ids.at(&a), {1, 3});
  write(a, 1, 1, 3);
  EXPECT_TRUE(running.empty());
  EXPECT_EQ(replies.back().error, OsdErrc::kCancelled);
  sessions->cancel(a, ids.at(&a), {1});
  write(a, 1, 1, 4);
  EXPECT_TRUE(running.empty()) << "the last one was for all";
}

TEST_F(ClientSessionsTest, CancelThatOvertakesItsOpHolds) {
  FakeConnection& a = connect("client.a", 1);
  sessions->cancel(a, ids.at(&a), {1});
  EXPECT_EQ(cancelled, (std::vector<Tid>{1}));
  write(a, 1);
  EXPECT_TRUE(running.empty());
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies[0].error, OsdErrc::kCancelled);
}

// A cancel needs no permission, and waits for nothing.
TEST_F(ClientSessionsTest, CancelsOfAnEntityAreRememberedWithinItsShare) {
  constexpr std::size_t kTotal = 1u << 20, kStarts = 8;
  make_sessions({.result_bytes = kTotal});
  for (std::size_t i = 0; i < kStarts; ++i) {
    FakeConnection& start = connect("client.a", 1, "host" + std::to_string(i));
    for (Tid tid = 1; tid <= 5000; ++tid) sessions->cancel(start, ids.at(&start), {tid, 0});
  }
  const auto all = nlohmann::json::parse(sessions->to_json());
  std::size_t bytes = 0;
  for (const auto& each : all) bytes += each["result_bytes"].get<std::size_t>();
  EXPECT_GT(bytes, kTotal / 4);
  EXPECT_LE(bytes, kTotal / 2 + kStarts * (16u << 10));
  FakeConnection& other = connect("client.b", 1);
  sessions->cancel(other, ids.at(&other), {1, 0});
  write(other, 1);
  EXPECT_TRUE(running.empty()) << "there is room for others";
}

TEST_F(ClientSessionsTest, CancelsOfWhoIsNotServedAreNotRemembered) {
  FakeConnection& older = connect("client.a", 1);
  connect("client.a", 2);
  for (Tid tid = 1; tid <= 100; ++tid) sessions->cancel(older, ids.at(&older), {tid, 0});
  EXPECT_EQ(cancelled.size(), 100u);
  for (const auto& each : nlohmann::json::parse(sessions->to_json()))
    EXPECT_EQ(each["results"], 0u);
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
