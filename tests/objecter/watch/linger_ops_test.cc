// SPDX-License-Identifier: LGPL-2.1-or-later
// How a client keeps its watches, against servers that the test plays.
#include "objecter/watch/linger_ops.h"

#include <optional>

#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

struct Listener final : WatchHandler {
  void on_notify(const NotifyEvent& event, NotifyReply ack) override {
    heard.push_back(event.notify_id);
    acks.push_back(std::move(ack));
  }
  void on_watch_lost(std::error_code error) override { lost.push_back(error); }
  std::vector<uint64_t> heard;
  std::vector<NotifyReply> acks;
  std::vector<std::error_code> lost;
};

class LingerOpsTest : public ObjecterFixture {
 protected:
  void SetUp() override {
    start(2);
    for (auto& server : servers) {
      test::FakeOsd* const each = server.get();
      each->answer = [this, each](const test::FakeOsd::Received& received) {
        const SubOp& step = received.op.steps.front();
        steps.emplace_back(each->id(), step);
        auto reply = each->ok(received);
        if (step.code == OpCode::kWatch) {
          reply.steps[0].value = 30'000;
          reply.error = reply.steps[0].error = refusal;
        }
        return std::optional(reply);
      };
    }
    object = {1, object_on(1)};
  }
  std::error_code watch(uint64_t cookie = 9) {
    std::error_code result = OsdErrc::kBusy;
    objecter->watch(object, cookie, listener, [&](std::error_code error) { result = error; });
    settle();
    return result;
  }
  template <typename T>
  void push(MessageType type, const T& content) {
    std::vector<std::byte> front;
    encode(content, front);
    osd(1).send_raw(type, std::move(front));
    settle();
  }
  std::size_t count(OpCode code) const {
    std::size_t found = 0;
    for (const auto& [id, step] : steps) found += step.code == code;
    return found;
  }

  ObjectId object;
  Listener listener;
  OsdErrc refusal = OsdErrc::kOk;  // to every WATCH from now on
  std::vector<std::pair<OsdId, SubOp>> steps;
};

TEST_F(LingerOpsTest, AWatchIsKeptByPings) {
  ASSERT_FALSE(watch());
  pass(60s);
  EXPECT_GE(osd(1).watch_pings, 15u);
  EXPECT_EQ(osd(0).watch_pings, 0u);
  EXPECT_EQ(count(OpCode::kWatch), 1u);
  EXPECT_TRUE(listener.lost.empty());
  EXPECT_TRUE(objecter->watch_check(object, 9));
}

TEST_F(LingerOpsTest, AWatchWhoseServerIsSilentIsLostBeforeTheTimeout) {
  ASSERT_FALSE(watch());
  pass(10s);
  osd(1).answers_watch_pings = false;
  pass(21s);
  EXPECT_TRUE(listener.lost.empty());
  pass(5s);
  ASSERT_EQ(listener.lost.size(), 1u);
  EXPECT_EQ(listener.lost[0], OsdErrc::kTimedOut);
  EXPECT_FALSE(objecter->watch_check(object, 9));
  EXPECT_EQ(count(OpCode::kUnwatch), 1u) << "the server is not left with it";
}

TEST_F(LingerOpsTest, AWatchIsTakenUpAgainInANewSession) {
  ASSERT_FALSE(watch());
  EXPECT_EQ(steps.back().second.length, 0u);
  restart(1);
  pass(2s);
  EXPECT_EQ(count(OpCode::kWatch), 2u);
  const auto again = std::find_if(steps.rbegin(), steps.rend(), [](const auto& each) {
    return each.second.code == OpCode::kWatch;
  });
  EXPECT_EQ(again->second.length, 1u) << "says that it had it";
  EXPECT_EQ(again->second.offset, 9u);
  EXPECT_TRUE(listener.lost.empty());
}

TEST_F(LingerOpsTest, AWatchThatExpiredMeanwhileIsLost) {
  ASSERT_FALSE(watch());
  refusal = OsdErrc::kWatchLost;
  restart(1);
  pass(2s);
  ASSERT_EQ(listener.lost.size(), 1u);
  EXPECT_EQ(listener.lost[0], OsdErrc::kWatchLost);
}

TEST_F(LingerOpsTest, AServerThatIsBusyIsAskedAgain) {
  ASSERT_FALSE(watch());
  refusal = OsdErrc::kBusy;
  restart(1);
  pass(5s);
  EXPECT_TRUE(listener.lost.empty());
  refusal = OsdErrc::kOk;
  pass(60s);
  EXPECT_TRUE(listener.lost.empty());
}

TEST_F(LingerOpsTest, AWatchFollowsItsObjectToAnotherServer) {
  ASSERT_FALSE(watch());
  OsdMap moved = map;
  ++moved.epoch;
  for (auto& member : moved.pools[0].members) member.weight = member.osd == 0 ? 0x10000 : 0;
  set_map(moved);
  pass(1s);
  ASSERT_EQ(steps.back().second.code, OpCode::kWatch);
  EXPECT_EQ(steps.back().first, 0);
  EXPECT_EQ(steps.back().second.length, 1u);
  pass(60s);
  EXPECT_GE(osd(0).watch_pings, 15u);
  EXPECT_TRUE(listener.lost.empty());
}

TEST_F(LingerOpsTest, ALossThatTheServerTellsIsPassedOn) {
  ASSERT_FALSE(watch());
  push(MessageType::kWatchLost, WatchLost{object, 8, OsdErrc::kFenced});
  EXPECT_TRUE(listener.lost.empty()) << "another cookie";
  push(MessageType::kWatchLost, WatchLost{object, 9, OsdErrc::kFenced});
  ASSERT_EQ(listener.lost.size(), 1u);
  EXPECT_EQ(listener.lost[0], OsdErrc::kFenced);
  pass(60s);
  EXPECT_EQ(count(OpCode::kWatch), 1u) << "nobody takes it up again";
}

TEST_F(LingerOpsTest, ANotifyThatIsToldAgainIsHeardOnce) {
  ASSERT_FALSE(watch());
  const WatchNotify notify{5, object, 9, {"client.a", "b", 1}, 10s, {}};
  push(MessageType::kWatchNotify, notify);
  push(MessageType::kWatchNotify, notify);
  EXPECT_EQ(listener.heard, std::vector<uint64_t>{5});
  EXPECT_EQ(count(OpCode::kNotifyAck), 0u);
  listener.acks.at(0)(ConstBytes());
  settle();
  ASSERT_EQ(steps.back().second.code, OpCode::kNotifyAck);
  EXPECT_EQ(steps.back().second.offset, 9u);
  EXPECT_EQ(steps.back().second.length, 5u);
}

TEST_F(LingerOpsTest, AnAckAfterTheWatchOrTheObjecterIsGoneDoesNothing) {
  ASSERT_FALSE(watch());
  push(MessageType::kWatchNotify, WatchNotify{5, object, 9, {"client.a", "b", 1}, 10s, {}});
  objecter->unwatch(object, 9, [](std::error_code) {});
  settle();
  listener.acks.at(0)(ConstBytes());
  settle();
  EXPECT_EQ(count(OpCode::kNotifyAck), 0u);
  shut_down();
  listener.acks.at(0)(ConstBytes());
}

TEST_F(LingerOpsTest, AWatchUnderTheSameNameWaitsForTheUnwatch) {
  ASSERT_FALSE(watch());
  auto answer = std::exchange(osd(1).answer, nullptr);
  objecter->unwatch(object, 9, [](std::error_code) {});
  std::optional<std::error_code> result;
  objecter->watch(object, 9, listener, [&](std::error_code error) { result = error; });
  settle();
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops[0].op.steps[0].code, OpCode::kUnwatch);
  osd(1).answer = std::move(answer);
  osd(1).reply_next();
  settle();
  ASSERT_TRUE(result);
  EXPECT_FALSE(*result);
}

TEST_F(LingerOpsTest, ShutdownEndsWhatWaitsAndTellsNoHandler) {
  ASSERT_FALSE(watch());
  osd(1).answer = nullptr;
  std::error_code result;
  objecter->watch(object, 10, listener, [&](std::error_code error) { result = error; });
  settle();
  shut_down();
  EXPECT_EQ(result, OsdErrc::kShutdown);
  EXPECT_TRUE(listener.lost.empty());
}

TEST_F(LingerOpsTest, ABadNameOrATooLongPayloadIsRefused) {
  object.name = "not a name";
  EXPECT_EQ(watch(), OsdErrc::kInvalid);
  std::error_code result;
  objecter->notify({1, "x"}, std::vector<std::byte>(4097), 1s,
                   [&](Result<NotifyResult> told) { result = told.error(); });
  settle();
  EXPECT_EQ(result, OsdErrc::kTooLarge);
}

}  // namespace
}  // namespace lunar::objecter
