// SPDX-License-Identifier: LGPL-2.1-or-later
// What an entity with a valid key may do at real servers, op by op: only what the map says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "objecter/protocol/placement.h"
#include "objecter/protocol/watch.h"
#include "osd/server/osd_server.h"
#include "tests/osd/server/server_fixture.h"

namespace lunar::osd {
namespace {

using objecter::MessageType;
using objecter::OsdMap;
using testing::HasSubstr;
using testing::Not;

constexpr objecter::ImageId kDisk1 = 0x00c0ffee00c0ffee;
constexpr char kOwnData[] = "00c0ffee00c0ffee.0000000000000000";
constexpr char kOwnHeader[] = "00c0ffee00c0ffee.header";
constexpr char kOther[] = "0badcafe0badcafe.header";

class OsdServerAccessTest : public ServerFixture {
 protected:
  void SetUp() override {
    keyring.emplace();
    for (const char* entity : {"osd.0", "osd.1", "client.admin", "client.disk1", "client.new"})
      keyring->generate(*EntityName::parse(entity));
    options.auth_required = true;
    start(0);
    connect_client();
    make_pool("rbd");
    make_pool("secret");
    ASSERT_FALSE(write(kOther, "content"));
    ASSERT_FALSE(write(kOwnData, "content"));
    ASSERT_FALSE(write(kOwnHeader, "content"));
  }
  void give(const std::string& entity, const std::string& caps) {
    const auto reply = command(R"({"prefix": "auth caps", "entity": ")" + entity +
                               R"(", "caps": ")" + caps + "\"}");
    ASSERT_EQ(reply.error, OsdErrc::kOk) << reply.text;
  }
  RawClient::Identity as(const std::string& entity, const std::string& instance = "raw") {
    return {&*keyring, entity, instance, 1};
  }
  const objecter::PoolInfo& pool(std::string_view name = "rbd") {
    return *client->map()->find_pool(name);
  }

  // The answer to an op of one step on an object of this pool.
  OsdErrc ask(RawClient& raw, OpCode code, const std::string& object, std::string_view in = "rbd",
              objecter::ImageId image = 0) {
    objecter::OsdOpHeader op;
    op.tid = ++tid_;
    op.oldest_tid = op.tid;
    op.epoch = client->map()->epoch;
    op.object = object;
    op.image = image;
    const bool is_metadata = object.ends_with(".header") || object.starts_with("lunar_");
    const bool is_xattr = code == OpCode::kGetXattr || code == OpCode::kSetXattr;
    if (is_metadata && !is_xattr) op.flags |= objecter::kOpMetadata;  // which have no xattrs
    op.pg =
        object.empty() ? objecter::PgId{pool(in).id, 0} : objecter::pg_of_object(pool(in), object);
    objecter::SubOp& step = op.steps.emplace_back();
    step.code = code;
    std::string data;
    switch (code) {
      case OpCode::kRead:
      case OpCode::kSparseRead:
      case OpCode::kMapExtents:
      case OpCode::kZero:
      case OpCode::kTruncate:
        step.length = 4;
        break;
      case OpCode::kList:
      case OpCode::kNotify:
        step.length = 100;
        break;
      case OpCode::kGetXattr:
        step.name = "a";
        break;
      case OpCode::kSetXattr:
        step.name = "a";
        data = "v";
        break;
      case OpCode::kWrite:
      case OpCode::kWriteSame:
      case OpCode::kCmpExt:
      case OpCode::kOrWrite:
        step.length = 4;
        data = "evil";
        break;
      case OpCode::kWriteFull:
        data = "evil";
        break;
      case OpCode::kNotifyAck:
        step.length = 1;
        [[fallthrough]];
      case OpCode::kWatch:
      case OpCode::kUnwatch:
        step.offset = 9;
        break;
      default:
        break;
    }
    step.data_length = static_cast<uint32_t>(data.size());
    std::vector<std::byte> front;
    objecter::encode(op, front);
    raw.send(MessageType::kOsdOp, std::move(front), op.tid, data);
    const objecter::OsdReplyHeader reply = raw.last_reply();
    EXPECT_EQ(reply.tid, op.tid);
    return reply.error;
  }
  objecter::CommandReply ask(RawClient& raw, const std::string& text) {
    std::vector<std::byte> front(as_const_bytes(text).begin(), as_const_bytes(text).end());
    raw.send(MessageType::kCommand, std::move(front), ++tid_);
    const auto message = raw.last(MessageType::kCommandReply);
    const auto reply = objecter::decode_command_reply(message.front, as_const_bytes(message.data));
    EXPECT_TRUE(reply);
    return reply ? *reply : objecter::CommandReply();
  }
  OsdMap map_of(RawClient& raw) {
    raw.send(MessageType::kMapSubscribe, objecter::MapSubscribe{0});
    const auto map = objecter::decode_osd_map(raw.last(MessageType::kMap).front);
    EXPECT_TRUE(map) << map.error().message;
    return map ? *map : OsdMap();
  }

  static constexpr OpCode kAll[] = {
      OpCode::kRead,      OpCode::kSparseRead, OpCode::kStat,        OpCode::kMapExtents,
      OpCode::kGetXattr,  OpCode::kCmpExt,     OpCode::kWrite,       OpCode::kWriteFull,
      OpCode::kWriteSame, OpCode::kZero,       OpCode::kTruncate,    OpCode::kDelete,
      OpCode::kSetXattr,  OpCode::kOrWrite,    OpCode::kWatch,       OpCode::kUnwatch,
      OpCode::kNotify,    OpCode::kNotifyAck,  OpCode::kListWatchers};
  const std::string kOwnImage = "allow rw pool=rbd image=disk1 image_id=00c0ffee00c0ffee";

 private:
  objecter::Tid tid_ = 0;
};

TEST_F(OsdServerAccessTest, AKeyWithoutCapabilitiesMayDoNothing) {
  RawClient raw(*center, stack, osds[0].address, as("client.new"));
  for (const OpCode code : kAll)
    EXPECT_EQ(ask(raw, code, kOther), OsdErrc::kNotPermitted) << static_cast<int>(code);
  EXPECT_EQ(ask(raw, OpCode::kList, ""), OsdErrc::kNotPermitted);
  EXPECT_EQ(ask(raw, OpCode::kFlush, "", "rbd", 5), OsdErrc::kNotPermitted);
  const OsdMap map = map_of(raw);
  EXPECT_TRUE(map.pools.empty());
  EXPECT_FALSE(map.has_caps());
  EXPECT_EQ(map.osds.size(), 1u);
  EXPECT_EQ(read(kOther, 7), "content");
}

TEST_F(OsdServerAccessTest, AnImagesEntityGetsNowhereElse) {
  give("client.disk1", kOwnImage);
  RawClient raw(*center, stack, osds[0].address, as("client.disk1"));
  for (const OpCode code : kAll) {
    const int number = static_cast<int>(code);
    for (const char* object : {kOther, "lunar_id.disk2", "lunar_directory", "no-such-object"})
      EXPECT_EQ(ask(raw, code, object), OsdErrc::kNotPermitted) << number << ' ' << object;
    EXPECT_EQ(ask(raw, code, kOwnHeader, "secret"), OsdErrc::kNotPermitted) << number;
    EXPECT_EQ(ask(raw, code, kOwnData, "rbd", kDisk1 + 1), OsdErrc::kNotPermitted) << number;
  }
  EXPECT_EQ(ask(raw, OpCode::kList, ""), OsdErrc::kNotPermitted);
  for (const objecter::ImageId image : {objecter::ImageId{0}, kDisk1 + 1})
    EXPECT_EQ(ask(raw, OpCode::kFlush, "", "rbd", image), OsdErrc::kNotPermitted);
  EXPECT_EQ(read(kOther, 7), "content");

  for (const OpCode code : kAll) {
    if (code == OpCode::kDelete) continue;
    for (const char* object : {kOwnData, kOwnHeader}) {
      if (code == OpCode::kSetXattr && object == kOwnHeader) continue;  // which has none
      EXPECT_NE(ask(raw, code, object, "rbd", kDisk1), OsdErrc::kNotPermitted)
          << static_cast<int>(code);
    }
  }
  EXPECT_EQ(ask(raw, OpCode::kFlush, "", "rbd", kDisk1), OsdErrc::kOk);
}

TEST_F(OsdServerAccessTest, AnImagesEntityLearnsOfNothingElse) {
  give("client.disk1", kOwnImage);
  RawClient raw(*center, stack, osds[0].address, as("client.disk1"));
  const OsdMap map = map_of(raw);
  ASSERT_EQ(map.pools.size(), 1u);
  EXPECT_EQ(map.pools[0].name, "rbd");
  EXPECT_TRUE(map.entities.empty());
  for (const char* prefix : {"status",        "osd ls",
                             "osd tree",      "osd dump",
                             "osd map",       "osd down",
                             "osd rm",        "osd replace",
                             "pool ls",       "pool get",
                             "pool create",   "pool rm",
                             "map dump",      "map backup",
                             "map restore",   "auth ls",
                             "auth get",      "auth caps",
                             "auth rm",       "auth enforce",
                             "sessions",      "dump_watchers",
                             "fences",        "unflushed",
                             "store usage",   "dump_historic_ops",
                             "ops in flight", "osd unfence"})
    EXPECT_EQ(
        ask(raw, std::string(R"({"prefix": ")") + prefix + R"(", "entity": "client.disk1"})").error,
        OsdErrc::kNotPermitted)
        << prefix;
  const auto fence = [&](const std::string& entity) {
    return ask(raw, R"({"prefix": "osd fence", "entity": ")" + entity +
                        R"(", "instance": "i", "nonce": 1})")
        .error;
  };
  EXPECT_EQ(fence("client.admin"), OsdErrc::kNotPermitted);
  EXPECT_EQ(fence("client.disk1"), OsdErrc::kOk);
  // Of its own starts it hears, and of nobody else's.
  const auto own = ask(raw, R"({"prefix": "fences", "entity": "client.disk1", "instance": "i"})");
  EXPECT_EQ(own.error, OsdErrc::kOk);
  EXPECT_THAT(own.text, HasSubstr("client.disk1"));
  EXPECT_THAT(own.text, Not(HasSubstr("client.admin")));
  for (const char* other : {R"({"prefix": "fences", "entity": "client.admin", "instance": "i"})",
                            R"({"prefix": "fences", "entity": "client.disk1"})"})
    EXPECT_EQ(ask(raw, other).error, OsdErrc::kNotPermitted) << other;
}

TEST_F(OsdServerAccessTest, WhoMayNotWriteHasNothingToTakeOver) {
  RawClient raw(*center, stack, osds[0].address, as("client.new"));
  const std::string fence =
      R"({"prefix": "osd fence", "entity": "client.new", "instance": "i", "nonce": 1)";
  const std::string takeover = fence + R"(, "for": "takeover"})";
  const auto is_allowed = [&] {
    const OsdErrc plain = ask(raw, fence + "}").error;
    EXPECT_EQ(ask(raw, takeover).error, plain);
    return plain == OsdErrc::kOk;
  };
  EXPECT_FALSE(is_allowed()) << "without capabilities";
  for (const auto& [caps, allowed] :
       std::vector<std::pair<std::string, bool>>{{"allow r", false},
                                                 {"profile rbd-read-only pool=rbd", false},
                                                 {"allow rx pool=rbd", false},
                                                 {"profile gateway pool=rbd", true},
                                                 {std::string(kOwnImage), true}}) {
    give("client.new", caps);
    EXPECT_EQ(is_allowed(), allowed) << caps;
  }
}

// Answers that nobody has read yet are memory of the server.
class OsdServerUnreadTest : public OsdServerAccessTest {
 protected:
  OsdServerUnreadTest() { options.sessions.reply_bytes = 100'000; }
};

TEST_F(OsdServerUnreadTest, WhoDoesNotReadTheAnswersToCommandsGetsNoMore) {
  give("client.new", "allow *");
  for (int i = 0; i < 100; ++i) {
    const auto reply = command(R"({"prefix": "auth caps", "caps": "allow r", "entity": "client.)" +
                               std::string(100, 'x') + std::to_string(i) + "\"}");
    ASSERT_EQ(reply.error, OsdErrc::kOk) << reply.text;
  }
  RawClient raw(*center, stack, osds[0].address, as("client.new"));
  const std::string text = R"({"prefix": "auth ls"})";
  for (uint64_t tid = 1; tid <= 100; ++tid) {
    std::vector<std::byte> front(as_const_bytes(text).begin(), as_const_bytes(text).end());
    raw.post(MessageType::kCommand, std::move(front), tid, {});
  }
  turn();
  int answered = 0, refused = 0;
  for (const RawClient::Message& message : raw.received) {
    if (message.type != static_cast<uint16_t>(MessageType::kCommandReply)) continue;
    const auto reply = objecter::decode_command_reply(message.front, as_const_bytes(message.data));
    ASSERT_TRUE(reply);
    (reply->error == OsdErrc::kOk ? answered : refused)++;
    EXPECT_TRUE(reply->error == OsdErrc::kOk || reply->error == OsdErrc::kBusy) << reply->text;
  }
  EXPECT_EQ(answered + refused, 100);
  EXPECT_GE(answered, 1);
  EXPECT_GE(refused, 1);
  EXPECT_EQ(ask(raw, text).error, OsdErrc::kOk) << "what was read counts no more";
}

// The answer to a change may be too long to be sent, and is not to be taken for a refusal.
TEST_F(OsdServerUnreadTest, WhatIsAnsweredAsBusyWasNotDone) {
  give("client.new", "allow *");
  std::string caps;
  for (int i = 10; i < 74; ++i)
    caps += (caps.empty() ? "" : ", ") + std::string("allow r pool=rbd image=") +
            std::string(11, 'x') + std::to_string(i) + " image_id=00c0ffee00c0ffee";
  RawClient raw(*center, stack, osds[0].address, as("client.new"));
  for (uint64_t tid = 1; tid <= 40; ++tid) {
    const std::string text = R"({"prefix": "auth caps", "entity": "client.made)" +
                             std::to_string(tid) + R"(", "caps": ")" + caps + "\"}";
    std::vector<std::byte> front(as_const_bytes(text).begin(), as_const_bytes(text).end());
    raw.post(MessageType::kCommand, std::move(front), tid, {});
  }
  turn();
  const OsdMap map = map_of(raw);
  int done = 0, cut_short = 0;
  for (const RawClient::Message& message : raw.received) {
    if (message.type != static_cast<uint16_t>(MessageType::kCommandReply)) continue;
    const auto reply = objecter::decode_command_reply(message.front, as_const_bytes(message.data));
    ASSERT_TRUE(reply);
    const bool is_made = map.find_entity("client.made" + std::to_string(message.tid)) != nullptr;
    EXPECT_EQ(reply->error, is_made ? OsdErrc::kOk : OsdErrc::kBusy) << reply->text;
    done += is_made ? 1 : 0;
    if (reply->text.find("answer_left_out") == std::string::npos) continue;
    ++cut_short;
    EXPECT_THAT(reply->text, HasSubstr("has not read what it was answered before"));
  }
  EXPECT_GE(done, 1);
  EXPECT_GE(cut_short, 1);
}

// A name that the record of fences does not hold kept the server from starting again.
TEST_F(OsdServerAccessTest, AFenceOfAnImpossibleNameIsRefused) {
  give("client.disk1", kOwnImage);
  RawClient raw(*center, stack, osds[0].address, as("client.disk1"));
  for (const std::string& instance : {std::string(600, 'x'), std::string("a b"), std::string()}) {
    const std::string fence =
        R"({"prefix": "osd fence", "entity": "client.disk1", "nonce": 1, "instance": ")" +
        instance + "\"}";
    EXPECT_EQ(ask(raw, fence).error, OsdErrc::kNotPermitted);
    EXPECT_EQ(command(fence).error, OsdErrc::kInvalid);
  }
  stop(0);
  start(0);
  EXPECT_EQ(osds[0].refused, "");
}

TEST_F(OsdServerAccessTest, WhoMayShowTheClusterMayNotChangeIt) {
  give("client.new", "allow x");
  RawClient raw(*center, stack, osds[0].address, as("client.new"));
  for (const char* prefix : {"status", "osd ls", "osd tree", "pool ls", "sessions", "fences"})
    EXPECT_EQ(ask(raw, std::string(R"({"prefix": ")") + prefix + "\"}").error, OsdErrc::kOk)
        << prefix;
  for (const char* prefix : {"auth ls", "map dump", "osd dump", "pool create", "map restore"}) {
    const auto reply = ask(raw, std::string(R"({"prefix": ")") + prefix + "\"}");
    EXPECT_EQ(reply.error, OsdErrc::kNotPermitted) << prefix;
    EXPECT_THAT(reply.text, HasSubstr("client.new"));
  }
}

TEST_F(OsdServerAccessTest, AChangeCountsAtOnceAndEndsWatches) {
  give("client.disk1", kOwnImage);
  RawClient raw(*center, stack, osds[0].address, as("client.disk1"));
  map_of(raw);  // it hears of every newer one, too
  ASSERT_EQ(ask(raw, OpCode::kWatch, kOwnHeader, "rbd", kDisk1), OsdErrc::kOk);
  give("client.disk1", "allow r pool=secret");
  EXPECT_EQ(ask(raw, OpCode::kRead, kOwnData, "rbd", kDisk1), OsdErrc::kNotPermitted);
  const auto lost = objecter::decode_watch_lost(raw.last(MessageType::kWatchLost).front);
  ASSERT_TRUE(lost);
  EXPECT_EQ(lost->error, OsdErrc::kNotPermitted);
  EXPECT_EQ(lost->object.name, kOwnHeader);
  const auto map = objecter::decode_osd_map(raw.last(MessageType::kMap).front);
  ASSERT_TRUE(map);
  ASSERT_EQ(map->pools.size(), 1u);
  EXPECT_EQ(map->pools[0].name, "secret");
  give("client.disk1", kOwnImage);
  EXPECT_EQ(ask(raw, OpCode::kRead, kOwnData, "rbd", kDisk1), OsdErrc::kOk);
}

// Each map costs us up to a mebibyte, and asking for it some bytes.
TEST_F(OsdServerAccessTest, AMapIsSentOnceToASession) {
  RawClient raw(*center, stack, osds[0].address, as("client.new"));
  map_of(raw);
  for (int i = 0; i < 10; ++i) raw.send(MessageType::kMapSubscribe, objecter::MapSubscribe{0});
  EXPECT_EQ(raw.count(MessageType::kMap), 1u);
  EXPECT_EQ(raw.count(MessageType::kMapCurrent), 10u);
  make_pool("more");
  EXPECT_EQ(raw.count(MessageType::kMap), 2u);
}

TEST_F(OsdServerAccessTest, WatchesThatAreStillAllowedStay) {
  give("client.disk1", kOwnImage);
  RawClient raw(*center, stack, osds[0].address, as("client.disk1"));
  ASSERT_EQ(ask(raw, OpCode::kWatch, kOwnHeader, "rbd", kDisk1), OsdErrc::kOk);
  give("client.disk1", "allow r pool=rbd");
  give("client.new", "allow r pool=rbd");
  EXPECT_EQ(raw.count(MessageType::kWatchLost), 0u);
}

// Another server gets all of the map, or it would purge what it does not see.
TEST_F(OsdServerAccessTest, AServerSeesTheWholeMapAndHasNoRightToObjects) {
  give("client.disk1", kOwnImage);
  start(1);
  ASSERT_EQ(osds[1].refused, "");
  EXPECT_EQ(*osds[1].server->map(), *osds[0].server->map());
  EXPECT_EQ(osds[1].server->map()->pools.size(), 2u);
  RawClient raw(*center, stack, osds[0].address, as("osd.1", "thief"));
  for (const OpCode code : kAll) EXPECT_EQ(ask(raw, code, kOther), OsdErrc::kNotPermitted);
  EXPECT_EQ(ask(raw, R"({"prefix": "status"})").error, OsdErrc::kNotPermitted);
}

TEST_F(OsdServerAccessTest, TheClientIsToldWhoMayNot) {
  client->shutdown([] {});
  turn();
  connect_client("gateway", "client.new");
  EXPECT_TRUE(client->map()->pools.empty());
  const auto reply = command(R"({"prefix": "pool create", "pool": "mine"})");
  EXPECT_EQ(reply.error, OsdErrc::kNotPermitted);
  EXPECT_THAT(reply.text, HasSubstr("client.new is not permitted"));
}

}  // namespace
}  // namespace lunar::osd
