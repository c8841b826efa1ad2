// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/pending_notifies.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "tests/osd/recording_connection.h"
#include "tests/support/manual_clock.h"

namespace lunar::osd {
namespace {

using namespace std::chrono_literals;
using objecter::NotifyResult;
using objecter::OsdErrc;

class PendingNotifiesTest : public ::testing::Test {
 protected:
  // A client with a connection and the watch `cookie` of `object`.
  struct Watching {
    Watching(msgr::EventCenter& center, std::string entity, uint64_t number)
        : client({std::move(entity), "host", 1}, number, {}),
          connection(std::make_shared<RecordingConnection>(center, client.id())) {
      client.attach(*connection);
    }
    WatchingClient client;
    std::shared_ptr<RecordingConnection> connection;
    WatchKey watch{&client, 7};
  };
  using Ended = std::optional<Result<NotifyResult>>;

  PendingNotifiesTest() {
    msgr::EventCenter::Options timed;
    timed.time = &clock;
    center = std::move(*msgr::EventCenter::create(timed));
    make({});
    a = std::make_unique<Watching>(*center, "client.a", 1);
    b = std::make_unique<Watching>(*center, "client.b", 2);
    watches = {a->watch, b->watch};
  }
  ~PendingNotifiesTest() override {
    notifies->stop();
    turn();
  }
  void make(PendingNotifies::Limits limits) {
    notifies = std::make_unique<PendingNotifies>(*center, limits, counters, 9);
  }
  void turn() { center->run_until_idle(); }
  void pass(std::chrono::nanoseconds time) {
    turn();
    clock.advance(time);
    turn();
  }
  // The result stays where it is until the test ends.
  Ended& begin(const void* token = nullptr, std::string notifier = "client.n", uint64_t nonce = 1) {
    objecter::WatchNotify content;
    content.object = object;
    content.notifier = {std::move(notifier), "host", nonce};
    content.timeout = timeout;
    const ConstBytes payload = as_const_bytes("resized");
    content.payload.assign(payload.begin(), payload.end());
    Ended& ended = *results.emplace_back(std::make_unique<Ended>());
    notifies->begin(token, std::move(content), watches, {30s, 2s},
                    [this, &ended](Result<NotifyResult> result, msgr::FairShares::Held share) {
                      ended = std::move(result);
                      unread.push_back(std::move(share));
                    });
    return ended;
  }
  bool ack(Watching& by, uint64_t id, std::string_view reply = "yes") {
    return notifies->take_ack(by.watch, object, id, as_const_bytes(reply));
  }
  uint64_t id_told(const Watching& to) const { return to.connection->notifies().back().notify_id; }

  test::ManualClock clock;
  std::unique_ptr<msgr::EventCenter> center;
  PerfRegistry perf;
  WatchCounters counters{perf};
  const objecter::ObjectId object{1, "header"};
  std::unique_ptr<Watching> a, b;
  std::set<WatchKey> watches;
  std::vector<std::unique_ptr<Ended>> results;
  std::chrono::milliseconds timeout = 5s;
  std::vector<msgr::FairShares::Held> unread;  // of results
  std::unique_ptr<PendingNotifies> notifies;
};

TEST_F(PendingNotifiesTest, TellsEveryWatcherWhatItIsAbout) {
  begin();
  for (const Watching* each : {a.get(), b.get()}) {
    const auto told = each->connection->notifies();
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].notify_id, (uint64_t{9} << 32) + 1);
    EXPECT_EQ(told[0].object, object);
    EXPECT_EQ(told[0].cookie, 7u);
    EXPECT_EQ(told[0].notifier.entity, "client.n");
    EXPECT_EQ(told[0].timeout, 5s);
    EXPECT_EQ(as_text(told[0].payload), "resized");
  }
}

TEST_F(PendingNotifiesTest, EndsWithTheLastAckAndNotInsideIt) {
  const Ended& ended = begin();
  EXPECT_TRUE(ack(*a, id_told(*a), "from a"));
  turn();
  EXPECT_FALSE(ended);
  EXPECT_TRUE(ack(*b, id_told(*b)));
  EXPECT_FALSE(ended);
  turn();
  ASSERT_TRUE(ended && *ended);
  ASSERT_EQ((*ended)->acks.size(), 2u);
  EXPECT_EQ((*ended)->acks[0].who, (objecter::WatcherId{a->client.id(), 7}));
  EXPECT_EQ(as_text((*ended)->acks[0].reply), "from a");
  EXPECT_TRUE((*ended)->missed.empty());
  EXPECT_EQ((*ended)->settling.settles_in, 2s);
  EXPECT_EQ(notifies->size(), 0u);
}

TEST_F(PendingNotifiesTest, WithoutWatchersEndsAtOnceButLater) {
  watches.clear();
  const Ended& ended = begin();
  EXPECT_FALSE(ended);
  turn();
  ASSERT_TRUE(ended && *ended);
  EXPECT_TRUE((*ended)->acks.empty());
}

TEST_F(PendingNotifiesTest, NamesThoseThatDidNotAckInTime) {
  const Ended& ended = begin();
  ack(*b, id_told(*b));
  pass(5s - 1ns);
  EXPECT_FALSE(ended);
  pass(1ns);
  ASSERT_TRUE(ended && *ended);
  EXPECT_EQ((*ended)->missed, (std::vector<objecter::WatcherId>{{a->client.id(), 7}}));
  EXPECT_FALSE(ack(*a, id_told(*a))) << "too late";
}

TEST_F(PendingNotifiesTest, AnAckCountsOnceAndOnlyForItsObjectAndWatch) {
  begin();
  const uint64_t id = id_told(*a);
  EXPECT_FALSE(notifies->take_ack({&a->client, 8}, object, id, {}));
  EXPECT_FALSE(notifies->take_ack(a->watch, {1, "other"}, id, {}));
  EXPECT_FALSE(ack(*a, id + 1));
  EXPECT_TRUE(ack(*a, id));
  EXPECT_FALSE(ack(*a, id));
}

TEST_F(PendingNotifiesTest, AWatchThatIsLostHasMissedIt) {
  const Ended& ended = begin();
  ack(*b, id_told(*b));
  notifies->on_watch_ended(a->watch, object, true);
  turn();
  ASSERT_TRUE(ended && *ended);
  EXPECT_EQ((*ended)->missed.size(), 1u);
}

TEST_F(PendingNotifiesTest, AWatchThatItsClientEndsIsInNeitherList) {
  const Ended& ended = begin();
  ack(*b, id_told(*b));
  notifies->on_watch_ended(a->watch, object, false);
  turn();
  ASSERT_TRUE(ended && *ended);
  EXPECT_EQ((*ended)->acks.size(), 1u);
  EXPECT_TRUE((*ended)->missed.empty());
}

TEST_F(PendingNotifiesTest, WhoComesBackIsToldAgainOfWhatItDidNotAck) {
  begin();
  begin();
  const uint64_t second = id_told(*a);
  ack(*a, second);
  pass(2s);
  notifies->tell_again(a->watch, object);
  const auto told = a->connection->notifies();
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[2].notify_id, told[0].notify_id);
  EXPECT_EQ(told[2].timeout, 3s) << "what is left of it";
}

TEST_F(PendingNotifiesTest, OneThatIsTakenBackHasNoEnd) {
  int token = 0;
  const Ended& ended = begin(&token);
  EXPECT_TRUE(notifies->take_back(&token));
  EXPECT_FALSE(notifies->take_back(&token));
  EXPECT_FALSE(ack(*a, id_told(*a)));
  pass(1h);
  EXPECT_FALSE(ended);
}

TEST_F(PendingNotifiesTest, OneThatHasFinishedCanBeTakenBackUntilItsDoneRuns) {
  int token = 0;
  watches.clear();
  const Ended& ended = begin(&token);
  EXPECT_TRUE(notifies->take_back(&token));
  turn();
  EXPECT_FALSE(ended);
}

TEST_F(PendingNotifiesTest, AnObjectHasOnlySoMany) {
  make({.slots = {.max_of_object = 1}});
  begin(nullptr, "client.x");
  const Ended& refused = begin(nullptr, "client.y");
  turn();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->error(), OsdErrc::kBusy);
  EXPECT_EQ(a->connection->notifies().size(), 1u) << "nobody is told of what is refused";
}

TEST_F(PendingNotifiesTest, ANotifierHasOnlySoManyAndHasRoomAgain) {
  make({.slots = {.max_of_client = 1}});
  begin();
  const Ended& refused = begin();
  turn();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->error(), OsdErrc::kBusy);
  pass(5s);
  const Ended& later = begin();
  pass(5s);
  EXPECT_TRUE(later && *later);
}

TEST_F(PendingNotifiesTest, RepliesBeyondTheBoundAreLeftOutAndTheAckCounts) {
  constexpr std::size_t kBytes = objecter::WatchLimits::kMaxAckBytes;
  const Ended& ended = begin();
  ack(*a, id_told(*a), std::string(kBytes, 'x'));
  ack(*b, id_told(*b), "y");
  turn();
  ASSERT_TRUE(ended && *ended);
  ASSERT_EQ((*ended)->acks.size(), 2u);
  EXPECT_EQ((*ended)->acks[0].reply.size(), kBytes);
  EXPECT_TRUE((*ended)->acks[1].reply.empty());
}

TEST_F(PendingNotifiesTest, AnEntityHasRoomForHalfHoweverManyStartsItHas) {
  make({.bytes = 20'000});
  const auto begun = [&](const std::string& entity) {
    const std::size_t before = notifies->size();
    int count = 0;
    for (; count < 100; ++count) {
      begin(nullptr, entity, static_cast<uint64_t>(count + 1));
      turn();
      if (notifies->size() == before + static_cast<std::size_t>(count)) break;
    }
    return count;
  };
  const int first = begun("client.x");
  EXPECT_GE(first, 5);
  EXPECT_LE(first, 10) << "half of it";
  EXPECT_GE(begun("client.y"), 2) << "there is room for the next one";
}

TEST_F(PendingNotifiesTest, ResultsCountUntilTheyAreLetGoOf) {
  make({.bytes = 20'000});
  begin();
  ack(*a, id_told(*a), std::string(4096, 'x'));
  ack(*b, id_told(*b), std::string(4096, 'x'));
  turn();
  ASSERT_EQ(unread.size(), 1u);
  const Ended& refused = begin();
  turn();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->error(), OsdErrc::kBusy);
  unread.clear();
  begin();
  turn();
  EXPECT_EQ(notifies->size(), 1u);
}

TEST_F(PendingNotifiesTest, RepliesForWhichThereIsNoRoomAreLeftOutAndTheAckCounts) {
  make({.bytes = 10'000});
  const Ended& ended = begin();
  ack(*a, id_told(*a), std::string(4096, 'x'));
  ack(*b, id_told(*b), std::string(4096, 'x'));
  turn();
  ASSERT_TRUE(ended && *ended);
  ASSERT_EQ((*ended)->acks.size(), 2u);
  EXPECT_TRUE((*ended)->acks[1].reply.empty());
}

TEST_F(PendingNotifiesTest, NoNotifyIsInTheWayForLongerThanAMinute) {
  timeout = 10min;
  const Ended& ended = begin();
  EXPECT_EQ(a->connection->notifies()[0].timeout, 1min);
  pass(1min);
  ASSERT_TRUE(ended && *ended);
  EXPECT_EQ((*ended)->missed.size(), 2u);
}

TEST_F(PendingNotifiesTest, StopEndsWhatWaitsAndWhatComesLater) {
  const Ended& ended = begin();
  notifies->stop();
  const Ended& later = begin();
  turn();
  ASSERT_TRUE(ended && later);
  EXPECT_EQ(ended->error(), OsdErrc::kShutdown);
  EXPECT_EQ(later->error(), OsdErrc::kShutdown);
}

TEST_F(PendingNotifiesTest, StopLeavesTheResultOfOneThatHasFinished) {
  watches.clear();
  const Ended& ended = begin();
  notifies->stop();
  turn();
  ASSERT_TRUE(ended);
  EXPECT_TRUE(*ended);
}

}  // namespace
}  // namespace lunar::osd
