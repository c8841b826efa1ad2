// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/watch.h"

#include <gtest/gtest.h>

#include "objecter/protocol/osd_op.h"
#include "tests/objecter/protocol/exact_decoding.h"

namespace lunar::objecter {
namespace {

const WatcherId kSomebody{{"client.a", "host.tgtd", 7}, 99};

TEST(WatchProtocolTest, AListOfWatchersKeepsEveryField) {
  WatcherList list;
  list.settling = {std::chrono::seconds(30), std::chrono::milliseconds(12)};
  list.watchers.push_back({kSomebody, msgr::Address::loopback(6800), true, {}});
  list.watchers.push_back({kSomebody, {}, false, std::chrono::milliseconds(1234)});
  const Buffer bytes = encoded(list);
  expect_exact(bytes, decode_watcher_list);
  const auto read = decode_watcher_list(bytes);
  ASSERT_EQ(read->watchers.size(), 2u);
  EXPECT_EQ(read->watchers[0].id, kSomebody);
  EXPECT_EQ(read->watchers[0].address, msgr::Address::loopback(6800));
  EXPECT_TRUE(read->watchers[0].is_connected);
  EXPECT_TRUE(read->watchers[1].address.is_unset());
  EXPECT_EQ(read->watchers[1].disconnected_for.count(), 1234);
  EXPECT_FALSE(read->settling.is_settled());
  EXPECT_EQ(read->settling.timeout, std::chrono::seconds(30));
}

TEST(WatchProtocolTest, TheResultOfANotifyKeepsEveryField) {
  NotifyResult result;
  result.acks.push_back({kSomebody, {std::byte{1}, std::byte{2}}});
  result.missed.push_back(kSomebody);
  const Buffer bytes = encoded(result);
  expect_exact(bytes, decode_notify_result);
  const auto read = decode_notify_result(bytes);
  ASSERT_EQ(read->acks.size(), 1u);
  EXPECT_EQ(read->acks[0].who, kSomebody);
  EXPECT_EQ(read->acks[0].reply.size(), 2u);
  ASSERT_EQ(read->missed.size(), 1u);
  EXPECT_TRUE(read->settling.is_settled());
}

TEST(WatchProtocolTest, MessagesKeepEveryField) {
  const WatchNotify notify{
      5, {1, "x"}, 9, kSomebody.client, std::chrono::seconds(3), {std::byte{4}}};
  expect_exact(encoded(notify), decode_watch_notify);
  const auto told = decode_watch_notify(encoded(notify));
  EXPECT_EQ(told->notify_id, 5u);
  EXPECT_EQ(told->object, (ObjectId{1, "x"}));
  EXPECT_EQ(told->cookie, 9u);
  EXPECT_EQ(told->notifier, kSomebody.client);
  EXPECT_EQ(told->timeout, std::chrono::seconds(3));
  EXPECT_EQ(told->payload, notify.payload);
  expect_exact(encoded(WatchLost{{1, "x"}, 9, OsdErrc::kFenced}), decode_watch_lost);
  expect_exact(encoded(WatchPing{77}), decode_watch_ping);
}

// The handshake lets in no others, so no server has a watch of one.
TEST(WatchProtocolTest, AnIdentityThatNoClientCanHaveIsRefused) {
  const auto is_taken = [](const ClientIdentity& client) {
    return decode_watch_notify(encoded(WatchNotify{5, {1, "x"}, 9, client, {}, {}})).has_value();
  };
  EXPECT_TRUE(is_taken({std::string(129, 'e'), std::string(256, 'i'), 1}));
  EXPECT_FALSE(is_taken({std::string(130, 'e'), "host", 1}));
  EXPECT_FALSE(is_taken({"client.a", std::string(257, 'i'), 1}));
  EXPECT_FALSE(is_taken({"", "host", 1}));
  EXPECT_FALSE(is_taken({"client.a", "", 1}));
  EXPECT_FALSE(is_taken({"client.a", "two words", 1}));
}

TEST(WatchProtocolTest, CountsThatCannotBeAreRefused) {
  Buffer bytes = encoded(WatcherList{});
  bytes[16] = std::byte{1};  // one watcher, and no bytes of it
  EXPECT_FALSE(decode_watcher_list(bytes));
}

TEST(WatchProtocolTest, OpsOfWatchesKeepTheirCookies) {
  for (const OpCode code : {OpCode::kWatch, OpCode::kUnwatch, OpCode::kNotify, OpCode::kNotifyAck,
                            OpCode::kListWatchers}) {
    OsdOpHeader op;
    op.tid = 1;
    op.pg = {1, 0};
    op.object = "x";
    SubOp step;
    step.code = code;
    const bool has_cookie =
        code == OpCode::kWatch || code == OpCode::kUnwatch || code == OpCode::kNotifyAck;
    step.offset = has_cookie ? UINT64_MAX : 0;
    step.length = code == OpCode::kUnwatch || code == OpCode::kListWatchers ? 0 : 1;
    step.data_length = code == OpCode::kNotify || code == OpCode::kNotifyAck ? 4096 : 0;
    op.steps = {step};
    const auto read = decode_osd_op(encoded(OsdOpView(op)), step.data_length);
    ASSERT_TRUE(read) << static_cast<int>(code);
    EXPECT_EQ(read->steps[0].offset, step.offset);
    EXPECT_EQ(read->steps[0].length, step.length);
    op.steps.push_back(step);
    EXPECT_FALSE(is_valid(op)) << "not the only step";
    if (step.data_length == 0) continue;
    op.steps = {step};
    op.steps[0].data_length = 4097;
    EXPECT_FALSE(is_valid(op)) << "too long";
  }
}

}  // namespace
}  // namespace lunar::objecter
