// SPDX-License-Identifier: LGPL-2.1-or-later
// A server and clients that break the rules, come back, or send things twice.
#include <nlohmann/json.hpp>

#include "objecter/protocol/placement.h"
#include "osd/map/boot_pace.h"
#include "osd/server/osd_server.h"
#include "tests/osd/server/server_fixture.h"

namespace lunar::osd {
namespace {

using Call = FaultyStore::Call;
using objecter::MessageType;

class OsdServerRulesTest : public ServerFixture {
 protected:
  OsdServerRulesTest() {
    start(0);
    connect_client();
    make_pool();
    pool = client->map()->pools.at(0);
  }
  OsdOpHeader op_on(const std::string& object, OpCode code, uint64_t length) {
    OsdOpHeader op;
    op.tid = ++tid;
    op.oldest_tid = 1;
    op.epoch = client->map()->epoch;
    op.object = object;
    op.pg = objecter::pg_of_object(pool, object);
    op.steps.resize(1);
    op.steps[0].code = code;
    op.steps[0].length = length;
    return op;
  }
  OsdErrc answer_to(RawClient& raw, const OsdOpHeader& op) {
    raw.send(MessageType::kOsdOp, op, op.tid);
    const auto reply = raw.last_reply();
    EXPECT_EQ(reply.tid, op.tid);
    return reply.error;
  }
  objecter::PoolInfo pool;
  Tid tid = 0;
};

TEST_F(OsdServerRulesTest, TheHelloComesFirstAndSaysWhoItIs) {
  RawClient raw(*center, stack, osds[0].address);
  ASSERT_EQ(raw.received.size(), 1u);
  const auto hello = objecter::decode_server_hello(raw.last(MessageType::kServerHello).front);
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->fsid, fsid);
  EXPECT_EQ(hello->osd, 0);
  EXPECT_EQ(hello->incarnation, osds[0].server->incarnation());
  EXPECT_NE(hello->verifier, 0u);
  EXPECT_FALSE(hello->remembers_client);
}

TEST_F(OsdServerRulesTest, AClientThatComesBackIsRemembered) {
  {
    RawClient first(*center, stack, osds[0].address);
    answer_to(first, op_on("a", OpCode::kRead, 1));
  }
  RawClient second(*center, stack, osds[0].address);
  const auto hello = objecter::decode_server_hello(second.last(MessageType::kServerHello).front);
  ASSERT_TRUE(hello);
  EXPECT_TRUE(hello->remembers_client);
}

TEST_F(OsdServerRulesTest, GarbageIsAnsweredOrIgnoredAndNeverBelieved) {
  RawClient raw(*center, stack, osds[0].address);
  const OsdOpHeader good = op_on("a", OpCode::kRead, 1);
  std::vector<std::byte> front;
  objecter::encode(good, front);
  for (std::size_t length = 0; length < front.size(); ++length)
    raw.post(MessageType::kOsdOp, {front.begin(), front.begin() + static_cast<long>(length)},
             good.tid, {});
  for (uint16_t type = 0; type < 40; ++type) {
    if (type == static_cast<uint16_t>(MessageType::kOsdBoot)) continue;  // ends the session
    raw.post(static_cast<MessageType>(type), {std::byte{0xff}, std::byte{1}}, 7, {});
  }
  turn();
  EXPECT_EQ(raw.last_reply().error, OsdErrc::kInvalid);
  EXPECT_EQ(answer_to(raw, op_on("a", OpCode::kRead, 1)), OsdErrc::kOk) << "it still serves";
}

// Every type of message with a body that does not parse, by itself and behind each other one, from
// a peer that has subscribed, boots, or has ops waiting: whatever ends its session, the map changes
// that follow find nobody who is gone.
class BrokenMessageTest : public OsdServerRulesTest,
                          public ::testing::WithParamInterface<std::tuple<int, int>> {
 protected:
  enum PeerState { kFresh, kSubscribed, kBooting, kWaiting, kAll };
  // What the state of the peer has to be before the message comes.
  void prepare(RawClient& raw, int state) {
    if (state == kSubscribed || state == kAll)
      raw.send(MessageType::kMapSubscribe, objecter::MapSubscribe{0});
    if (state == kBooting || state == kAll) {
      osds[0].store->hold(Call::kRecord);  // its answer waits for the record of the map
      objecter::OsdBoot boot;
      boot.osd = 7;
      boot.fsid = fsid;
      boot.store = Uuid::random();
      boot.incarnation = 1;
      boot.addresses = {msgr::Address::loopback(9)};
      raw.send(MessageType::kOsdBoot, boot);
    }
    if (state == kWaiting || state == kAll) {
      OsdOpHeader op = op_on("a", OpCode::kWrite, 1);
      op.steps[0].data_length = 1;
      std::vector<std::byte> front;
      objecter::encode(op, front);
      osds[0].store->hold(Call::kWrite);
      raw.send(MessageType::kOsdOp, front, op.tid, "x");
    }
  }
  void change_map() { make_pool("pool" + std::to_string(++changes)); }
  int changes = 0;
};

TEST_P(BrokenMessageTest, LeavesNobodyWithAConnectionThatIsGone) {
  const auto [type, state] = GetParam();
  RawClient raw(*center, stack, osds[0].address);
  prepare(raw, state);
  raw.send(static_cast<MessageType>(type), {std::byte{0xff}}, 5);
  osds[0].store->release(Call::kRecord);
  osds[0].store->release(Call::kWrite);
  turn();
  change_map();
  change_map();
  EXPECT_FALSE(write("a", "xy")) << "others are served";
  const auto sessions = nlohmann::json::parse(command(R"({"prefix": "sessions"})", 0).text);
  for (const auto& session : sessions) {
    if (session["entity"] != "client.raw") continue;
    EXPECT_EQ(session["connected"], raw.is_open());
  }
}

INSTANTIATE_TEST_SUITE_P(All, BrokenMessageTest,
                         ::testing::Combine(::testing::Range(0, 24), ::testing::Range(0, 5)));

TEST_F(OsdServerRulesTest, ASessionThatTheServerEndsIsForgottenByAllOfIt) {
  RawClient raw(*center, stack, osds[0].address);
  raw.send(MessageType::kMapSubscribe, objecter::MapSubscribe{0});
  raw.send(MessageType::kOsdBoot, {std::byte{1}});
  const auto sessions = nlohmann::json::parse(command(R"({"prefix": "sessions"})", 0).text);
  bool is_known = false;
  for (const auto& session : sessions) {
    if (session["entity"] != "client.raw") continue;
    is_known = true;
    EXPECT_EQ(session["connected"], raw.is_open());
  }
  EXPECT_TRUE(is_known) << "a client that comes back finds its results";
  make_pool("another");
  EXPECT_FALSE(write("a", "x"));
}

// Each of them makes a map, which is written and sent to everybody.
TEST_F(OsdServerRulesTest, AServerThatStartsAgainAndAgainIsToldToWait) {
  const auto boot = [&](OsdId osd, const Uuid& store, uint64_t incarnation, uint64_t previous) {
    RawClient raw(*center, stack, osds[0].address, "thief");
    objecter::OsdBoot content;
    content.osd = osd;
    content.fsid = fsid;
    content.store = store;
    content.incarnation = incarnation;
    if (previous != 0) content.previous = {previous};
    content.addresses = {msgr::Address::loopback(static_cast<uint16_t>(7000 + osd))};
    raw.send(MessageType::kOsdBoot, content);
    turn();
    const auto reply = objecter::decode_osd_boot_reply(raw.last(MessageType::kOsdBootReply).front);
    EXPECT_TRUE(reply);
    return reply ? reply->error : OsdErrc::kInvalid;
  };
  const Uuid stolen = Uuid::random();
  uint64_t last = 0;
  while (last < 100 && boot(7, stolen, last + 1, last) == OsdErrc::kOk) ++last;
  EXPECT_EQ(last, static_cast<uint64_t>(BootPace::kBurst));
  EXPECT_EQ(boot(7, stolen, last + 1, last), OsdErrc::kBusy) << "an answer, and at once";
  EXPECT_EQ(boot(8, Uuid::random(), 1, 0), OsdErrc::kOk);
  EXPECT_FALSE(write("a", "x"));
  until([] { return false; }, BootPace::kInterval + std::chrono::seconds(1));
  EXPECT_EQ(boot(7, stolen, last + 1, last), OsdErrc::kOk);
}

// Those that come before the first is decided, each of which follows the one before.
TEST_F(OsdServerRulesTest, BootsThatDoNotWaitForTheirAnswersMakeNoMoreMaps) {
  RawClient raw(*center, stack, osds[0].address, "thief");
  const auto before = osds[0].server->map()->epoch;
  objecter::OsdBoot content;
  content.osd = 7;
  content.fsid = fsid;
  content.store = Uuid::random();
  osds[0].store->hold(Call::kRecord);
  for (uint64_t start = 1; start <= 200; ++start) {
    content.incarnation = start;
    content.previous = {start - 1};
    content.addresses = {msgr::Address::loopback(static_cast<uint16_t>(7000 + start))};
    raw.send(MessageType::kOsdBoot, content);
  }
  turn();
  osds[0].store->release(Call::kRecord);
  turn();
  EXPECT_LE(osds[0].server->map()->epoch, before + 2);
}

// One start has the same addresses all the time; the map would follow whoever names others.
TEST_F(OsdServerRulesTest, AStartThatRunsIsNotTakenElsewhere) {
  RawClient first(*center, stack, osds[0].address, "first");
  RawClient thief(*center, stack, osds[0].address, "thief");
  objecter::OsdBoot content;
  content.osd = 7;
  content.fsid = fsid;
  content.store = Uuid::random();
  content.incarnation = 1;
  const auto boot = [&](RawClient& raw, uint16_t port) {
    content.addresses = {msgr::Address::loopback(port)};
    raw.send(MessageType::kOsdBoot, content);
    turn();
    return objecter::decode_osd_boot_reply(raw.last(MessageType::kOsdBootReply).front)->error;
  };
  EXPECT_EQ(boot(first, 7007), OsdErrc::kOk);
  EXPECT_EQ(boot(thief, 7008), OsdErrc::kBusy);
  EXPECT_EQ(boot(first, 7007), OsdErrc::kOk);
}

TEST_F(OsdServerRulesTest, ABootThatCannotBeReadEndsTheSession) {
  RawClient raw(*center, stack, osds[0].address);
  raw.send(MessageType::kOsdBoot, {std::byte{1}});
  EXPECT_FALSE(write("a", "x")) << "others are not concerned";
}

TEST_F(OsdServerRulesTest, TheTidOfTheMessageMustBeTheOps) {
  RawClient raw(*center, stack, osds[0].address);
  raw.send(MessageType::kOsdOp, op_on("a", OpCode::kRead, 1), 99);
  EXPECT_EQ(raw.last_reply().tid, 99u);
  EXPECT_EQ(raw.last_reply().error, OsdErrc::kInvalid);
}

TEST_F(OsdServerRulesTest, TargetsAreChecked) {
  RawClient raw(*center, stack, osds[0].address);
  OsdOpHeader op = op_on("a", OpCode::kRead, 1);
  op.pg.pool = 99;
  EXPECT_EQ(answer_to(raw, op), OsdErrc::kNoSuchPool);
  op = op_on("a", OpCode::kRead, 1);
  op.pg.seed = pool.pg_num;
  EXPECT_EQ(answer_to(raw, op), OsdErrc::kInvalid);
  op = op_on("a", OpCode::kRead, 1);
  op.pg.seed = (op.pg.seed + 1) % pool.pg_num;
  EXPECT_EQ(answer_to(raw, op), OsdErrc::kInvalid);
  op = op_on("a", OpCode::kRead, 64u << 20);
  op.steps[0].length = OsdOpHeader::kMaxDataBytes;
  EXPECT_EQ(answer_to(raw, op), OsdErrc::kTooLarge);
}

TEST_F(OsdServerRulesTest, AnOpForAnotherServersPgIsToldSo) {
  start(1);
  ASSERT_EQ(command(R"({"prefix": "pool create", "pool": "two"})").error, OsdErrc::kOk);
  pool = *client->map()->find_pool(std::string_view("two"));
  RawClient raw(*center, stack, osds[0].address);
  int mine = 0;
  int others = 0;
  for (int i = 0; i < 40; ++i) {
    const OsdOpHeader op = op_on("obj" + std::to_string(i), OpCode::kRead, 1);
    const bool ours = objecter::osd_of_pg(pool, op.pg) == 0;
    EXPECT_EQ(answer_to(raw, op), ours ? OsdErrc::kOk : OsdErrc::kStaleMap);
    ++(ours ? mine : others);
  }
  EXPECT_GT(mine, 0);
  EXPECT_GT(others, 0);
}

TEST_F(OsdServerRulesTest, AnOpWithAMapNewerThanTheAuthoritysIsRefused) {
  RawClient raw(*center, stack, osds[0].address);
  OsdOpHeader op = op_on("a", OpCode::kRead, 1);
  op.epoch += 5;
  EXPECT_EQ(answer_to(raw, op), OsdErrc::kIncompatible);
}

TEST_F(OsdServerRulesTest, AResendIsAnsweredAlikeAndNotExecutedAgain) {
  RawClient raw(*center, stack, osds[0].address);
  OsdOpHeader op = op_on("a", OpCode::kWrite, 1);
  op.steps[0].data_length = 1;
  std::vector<std::byte> front;
  objecter::encode(op, front);
  raw.send(MessageType::kOsdOp, front, op.tid, "x");
  const auto first = raw.last_reply();
  const std::size_t writes = osds[0].store->calls(Call::kWrite);
  op.attempt = 2;
  front.clear();
  objecter::encode(op, front);
  raw.send(MessageType::kOsdOp, front, op.tid, "x");
  const auto second = raw.last_reply();
  EXPECT_EQ(second.attempt, 2u);
  EXPECT_EQ(second.version, first.version);
  EXPECT_EQ(osds[0].store->calls(Call::kWrite), writes);
}

TEST_F(OsdServerRulesTest, ANewerStartOfAClientFencesTheOlder) {
  RawClient older(*center, stack, osds[0].address, "same", 1);
  EXPECT_EQ(answer_to(older, op_on("a", OpCode::kRead, 1)), OsdErrc::kOk);
  RawClient newer(*center, stack, osds[0].address, "same", 2);
  EXPECT_EQ(answer_to(older, op_on("a", OpCode::kRead, 1)), OsdErrc::kFenced);
  EXPECT_EQ(answer_to(newer, op_on("a", OpCode::kRead, 1)), OsdErrc::kOk);
}

TEST_F(OsdServerRulesTest, AnOperatorFencesAClient) {
  RawClient raw(*center, stack, osds[0].address, "host", 3);
  const auto fenced =
      command(R"({"prefix": "osd fence", "entity": "client.raw", "instance": "host"})", 0);
  EXPECT_EQ(fenced.error, OsdErrc::kOk) << fenced.text;
  EXPECT_EQ(answer_to(raw, op_on("a", OpCode::kRead, 1)), OsdErrc::kFenced);
  EXPECT_EQ(command(R"({"prefix": "osd fence"})", 0).error, OsdErrc::kInvalid);
}

TEST_F(OsdServerRulesTest, AnOperatorDoesNotLiftATakeover) {
  RawClient raw(*center, stack, osds[0].address, "host", 3);
  EXPECT_EQ(answer_to(raw, op_on("a", OpCode::kRead, 1)), OsdErrc::kOk);
  const std::string who = R"("entity": "client.raw", "instance": "host")";
  ASSERT_EQ(command(R"({"prefix": "osd fence", "for": "takeover", )" + who + "}", 0).error,
            OsdErrc::kOk);
  const auto refused = command(R"({"prefix": "osd unfence", )" + who + "}", 0);
  EXPECT_EQ(refused.error, OsdErrc::kFenced);
  EXPECT_NE(refused.text.find("restart that gateway"), std::string::npos) << refused.text;
  EXPECT_EQ(answer_to(raw, op_on("a", OpCode::kRead, 2)), OsdErrc::kFenced);
  RawClient newer(*center, stack, osds[0].address, "host", 4);
  EXPECT_EQ(answer_to(newer, op_on("a", OpCode::kRead, 1)), OsdErrc::kOk);
  EXPECT_EQ(command(R"({"prefix": "osd unfence", )" + who + "}", 0).error, OsdErrc::kOk);
  EXPECT_EQ(command(R"({"prefix": "osd fence", "for": "fun", )" + who + "}", 0).error,
            OsdErrc::kInvalid);
}

TEST_F(OsdServerRulesTest, CommandsShowTheServersState) {
  EXPECT_TRUE(nlohmann::json::accept(command(R"({"prefix": "sessions"})", 0).text));
  EXPECT_TRUE(nlohmann::json::accept(command(R"({"prefix": "unflushed"})", 0).text));
  EXPECT_TRUE(nlohmann::json::accept(command(R"({"prefix": "dump_historic_ops"})", 0).text));
  const auto unknown = command(R"({"prefix": "make coffee"})");
  EXPECT_EQ(unknown.error, OsdErrc::kInvalid);
  EXPECT_NE(unknown.text.find("make coffee"), std::string::npos);
}

}  // namespace
}  // namespace lunar::osd
