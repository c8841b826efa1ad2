// SPDX-License-Identifier: LGPL-2.1-or-later
// Sessions of clients that are fenced, taken over, revoked, and let in again.
#include "tests/osd/clients/client_sessions_fixture.h"

namespace lunar::osd {
namespace {

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

}  // namespace
}  // namespace lunar::osd
