// SPDX-License-Identifier: LGPL-2.1-or-later
// Whole servers with a real Objecter, and with clients that break the rules.
#include "osd/osd_server.h"

#include <nlohmann/json.hpp>

#include "objecter/protocol/placement.h"
#include "tests/osd/server_fixture.h"

namespace lunar::osd {
namespace {

using Call = FaultyStore::Call;
using objecter::MessageType;
using OsdServerTest = ServerFixture;

TEST_F(OsdServerTest, AClusterOfOneServesWhatWasWritten) {
  start(0);
  ASSERT_FALSE(osds[0].address.is_unset()) << osds[0].refused;
  connect_client();
  make_pool();
  EXPECT_FALSE(write("a", "hello"));
  EXPECT_EQ(read("a", 7), std::string("hello\0\0", 7));
  EXPECT_FALSE(flush());
}

TEST_F(OsdServerTest, ObjectsAreSpreadOverServersThatBootedWithTheFirst) {
  for (OsdId id = 0; id < 3; ++id) {
    start(id);
    ASSERT_FALSE(osds[id].address.is_unset()) << osds[id].refused;
  }
  connect_client();
  make_pool();
  for (int i = 0; i < 60; ++i) ASSERT_FALSE(write("obj" + std::to_string(i), std::to_string(i)));
  for (int i = 0; i < 60; ++i)
    EXPECT_EQ(read("obj" + std::to_string(i), std::to_string(i).size()), std::to_string(i));
  for (OsdId id = 0; id < 3; ++id) EXPECT_GT(osds[id].store->calls(Call::kWrite), 5u) << id;
  EXPECT_FALSE(flush());
  for (OsdId id = 0; id < 3; ++id) EXPECT_GE(osds[id].store->calls(Call::kFlush), 1u) << id;
}

TEST_F(OsdServerTest, AServerThatEndsInGoodOrderIsDownAtOnce) {
  start(0);
  start(1);
  EXPECT_TRUE(osds[0].server->map()->find_osd(1)->up);
  stop(1);
  EXPECT_FALSE(osds[0].server->map()->find_osd(1)->up);
  osds[1].address = {};
  start(1);
  EXPECT_TRUE(osds[0].server->map()->find_osd(1)->up);
  EXPECT_FALSE(osds[1].address.is_unset());
}

TEST_F(OsdServerTest, AServerThatIsMarkedDownBootsAgain) {
  start(0);
  start(1);
  connect_client();
  const Epoch before = osds[0].server->map()->epoch;
  EXPECT_EQ(command(R"({"prefix": "osd down", "osd": 1})").error, Errc::kOk);
  EXPECT_TRUE(osds[0].server->map()->find_osd(1)->up);
  EXPECT_GE(osds[0].server->map()->epoch, before + 2);
}

TEST_F(OsdServerTest, OtherServersHaveTheMapAndGiveItToClients) {
  start(0);
  start(1);
  connect_client();
  make_pool();
  ASSERT_NE(osds[1].server->map(), nullptr);
  EXPECT_EQ(osds[1].server->map()->epoch, osds[0].server->map()->epoch);
  RawClient raw(*center, stack, osds[1].address);
  raw.send(MessageType::kMapSubscribe, objecter::MapSubscribe{0});
  const auto map = objecter::decode_osd_map(raw.last(MessageType::kMap).front);
  ASSERT_TRUE(map);
  EXPECT_EQ(map->pools.size(), 1u);
  make_pool("second");
  EXPECT_EQ(raw.count(MessageType::kMap), 2u) << "a newer one is pushed";
}

TEST_F(OsdServerTest, AMapSurvivesARestartOfTheAuthority) {
  start(0);
  connect_client();
  make_pool();
  const Epoch epoch = osds[0].server->map()->epoch;
  stop(0);
  start(0);
  EXPECT_GT(osds[0].server->map()->epoch, epoch);
  EXPECT_EQ(osds[0].server->map()->pools.size(), 1u);
}

TEST_F(OsdServerTest, AServerOfAnotherClusterIsNotLetIn) {
  start(0);
  make_store(1, Uuid::random());
  start(1);
  EXPECT_TRUE(osds[1].address.is_unset());
  EXPECT_EQ(osds[0].server->map()->find_osd(1), nullptr);
}

TEST_F(OsdServerTest, AnotherStoreUnderAKnownIdIsRefusedWithASentence) {
  start(0);
  start(1);
  stop(1);
  osds[1].store.reset();
  osds[1].address = {};
  start(1);
  EXPECT_TRUE(osds[1].address.is_unset());
  EXPECT_NE(osds[1].refused.find("osd.1 is store"), std::string::npos) << osds[1].refused;
}

TEST_F(OsdServerTest, AStoreWithoutAMapAndNobodyToAskIsRefused) {
  make_store(1, fsid);
  PerfRegistry perf;
  const auto server = OsdServer::create(*center, *osds[1].store, options, perf);
  ASSERT_FALSE(server);
  EXPECT_NE(server.error().message.find("mon_host"), std::string::npos);
}

TEST_F(OsdServerTest, APortInUseIsNamed) {
  start(0);
  make_store(1, fsid);
  Osd& osd = osds[1];
  options.bootstrap = {osds[0].address};
  osd.server = std::move(*OsdServer::create(*center, *osd.store, options, *osd.perf));
  msgr::MessengerOptions messenger;
  messenger.entity = "osd.1";
  osd.server->start(stack, messenger, nullptr, {{osds[0].address}, {}},
                    [&osd](Outcome<msgr::Address> ready) {
                      ASSERT_FALSE(ready);
                      osd.refused = ready.error().message;
                    });
  turn();
  EXPECT_NE(osd.refused.find("6800"), std::string::npos) << osd.refused;
}

TEST_F(OsdServerTest, ARestartIsANewIncarnationAndIdempotentOpsGoOn) {
  start(0);
  connect_client();
  make_pool();
  ASSERT_FALSE(write("a", "one"));
  osds[0].store->hold(Call::kWrite);
  const auto answer = submit("a", OpCode::kWrite, 0, 3, "two");
  turn();
  const uint64_t incarnation = osds[0].server->incarnation();
  bool stopped = false;
  osds[0].server->shutdown([&] { stopped = true; });
  turn();
  EXPECT_FALSE(stopped) << "an op is inside the store";
  osds[0].store->release(Call::kWrite);
  turn();
  EXPECT_TRUE(stopped);
  EXPECT_FALSE(answer->error);
  osds[0].server.reset();
  start(0);
  EXPECT_NE(osds[0].server->incarnation(), incarnation);
}

TEST_F(OsdServerTest, CancelOfAnOpInsideTheStoreEndsWithWhatHappened) {
  start(0);
  connect_client();
  make_pool();
  osds[0].store->hold(Call::kWrite);
  const auto answer = submit("a", OpCode::kWrite, 0, 3, "one");
  turn();
  client->cancel(last_tid);
  turn();
  EXPECT_EQ(answer->error, Errc::kBusy) << "not over yet";
  osds[0].store->release(Call::kWrite);
  turn();
  EXPECT_NE(answer->error, Errc::kBusy);
  EXPECT_EQ(read("a", 3), "one");
}

TEST_F(OsdServerTest, LostWritesAreReportedByOneFlush) {
  start(0);
  connect_client();
  make_pool();
  ASSERT_FALSE(write("a", "one"));
  osds[0].store->fail_next(Call::kFlush, system_error(EIO));
  EXPECT_EQ(flush(), Errc::kLostWrites);
  EXPECT_FALSE(flush());
}

TEST_F(OsdServerTest, OpsAboveTheCapWaitTheirTurn) {
  options.max_executing_ops = 1;
  start(0);
  connect_client();
  make_pool();
  osds[0].store->hold(Call::kWrite);
  std::vector<std::shared_ptr<Answer>> answers;
  for (int i = 0; i < 4; ++i)
    answers.push_back(submit("obj" + std::to_string(i), OpCode::kWrite, 0, 1, "x"));
  turn();
  EXPECT_EQ(osds[0].store->held(Call::kWrite), 1u);
  for (int i = 0; i < 4; ++i) {
    osds[0].store->release(Call::kWrite);
    turn();
  }
  for (const auto& answer : answers) EXPECT_FALSE(answer->error) << answer->error.message();
}

TEST_F(OsdServerTest, ARemovedPoolGivesItsSpaceBack) {
  start(0);
  connect_client();
  make_pool();
  for (int i = 0; i < 10; ++i) ASSERT_FALSE(write("obj" + std::to_string(i), "x"));
  ASSERT_GT(osds[0].store->usage().used, 0u);
  const auto reply =
      command(R"({"prefix": "pool rm", "pool": "rbd", "yes_i_really_really_mean_it": true})");
  ASSERT_EQ(reply.error, Errc::kOk) << reply.text;
  turn();
  EXPECT_EQ(osds[0].store->usage().used, 0u);
}

TEST_F(OsdServerTest, APoolRemovedWhileAServerWasDownIsPurgedWhenItIsBack) {
  start(0);
  start(1);
  connect_client();
  make_pool();
  for (int i = 0; i < 30; ++i) ASSERT_FALSE(write("obj" + std::to_string(i), "x"));
  stop(1);
  ASSERT_GT(osds[1].store->usage().used, 0u);
  const auto reply =
      command(R"({"prefix": "pool rm", "pool": "rbd", "yes_i_really_really_mean_it": true})");
  ASSERT_EQ(reply.error, Errc::kOk) << reply.text;
  start(1);
  EXPECT_EQ(osds[1].store->usage().used, 0u);
}

// --- clients that break the rules ---

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
  Errc answer_to(RawClient& raw, const OsdOpHeader& op) {
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
  EXPECT_EQ(hello->verifier, osds[0].server->verifier());
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
  EXPECT_EQ(raw.last_reply().error, Errc::kInvalid);
  EXPECT_EQ(answer_to(raw, op_on("a", OpCode::kRead, 1)), Errc::kOk) << "it still serves";
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
  EXPECT_EQ(raw.last_reply().error, Errc::kInvalid);
}

TEST_F(OsdServerRulesTest, TargetsAreChecked) {
  RawClient raw(*center, stack, osds[0].address);
  OsdOpHeader op = op_on("a", OpCode::kRead, 1);
  op.pg.pool = 99;
  EXPECT_EQ(answer_to(raw, op), Errc::kNoSuchPool);
  op = op_on("a", OpCode::kRead, 1);
  op.pg.seed = pool.pg_num;
  EXPECT_EQ(answer_to(raw, op), Errc::kInvalid);
  op = op_on("a", OpCode::kRead, 1);
  op.pg.seed = (op.pg.seed + 1) % pool.pg_num;
  EXPECT_EQ(answer_to(raw, op), Errc::kInvalid);
  op = op_on("a", OpCode::kRead, 64u << 20);
  op.steps[0].length = OsdOpHeader::kMaxDataBytes;
  EXPECT_EQ(answer_to(raw, op), Errc::kTooLarge);
}

TEST_F(OsdServerRulesTest, AnOpForAnotherServersPgIsToldSo) {
  start(1);
  ASSERT_EQ(command(R"({"prefix": "pool create", "pool": "two"})").error, Errc::kOk);
  pool = *client->map()->find_pool(std::string_view("two"));
  RawClient raw(*center, stack, osds[0].address);
  int mine = 0;
  int others = 0;
  for (int i = 0; i < 40; ++i) {
    const OsdOpHeader op = op_on("obj" + std::to_string(i), OpCode::kRead, 1);
    const bool ours = objecter::osd_of_pg(pool, op.pg) == 0;
    EXPECT_EQ(answer_to(raw, op), ours ? Errc::kOk : Errc::kStaleMap);
    ++(ours ? mine : others);
  }
  EXPECT_GT(mine, 0);
  EXPECT_GT(others, 0);
}

TEST_F(OsdServerRulesTest, AnOpWithAMapNewerThanTheAuthoritysIsRefused) {
  RawClient raw(*center, stack, osds[0].address);
  OsdOpHeader op = op_on("a", OpCode::kRead, 1);
  op.epoch += 5;
  EXPECT_EQ(answer_to(raw, op), Errc::kIncompatible);
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
  EXPECT_EQ(answer_to(older, op_on("a", OpCode::kRead, 1)), Errc::kOk);
  RawClient newer(*center, stack, osds[0].address, "same", 2);
  EXPECT_EQ(answer_to(older, op_on("a", OpCode::kRead, 1)), Errc::kFenced);
  EXPECT_EQ(answer_to(newer, op_on("a", OpCode::kRead, 1)), Errc::kOk);
}

TEST_F(OsdServerRulesTest, AnOperatorFencesAClient) {
  RawClient raw(*center, stack, osds[0].address, "host", 3);
  const auto fenced =
      command(R"({"prefix": "osd fence", "entity": "client.raw", "instance": "host"})", 0);
  EXPECT_EQ(fenced.error, Errc::kOk) << fenced.text;
  EXPECT_EQ(answer_to(raw, op_on("a", OpCode::kRead, 1)), Errc::kFenced);
  EXPECT_EQ(command(R"({"prefix": "osd fence"})", 0).error, Errc::kInvalid);
}

TEST_F(OsdServerRulesTest, CommandsShowTheServersState) {
  EXPECT_TRUE(nlohmann::json::accept(command(R"({"prefix": "sessions"})", 0).text));
  EXPECT_TRUE(nlohmann::json::accept(command(R"({"prefix": "unflushed"})", 0).text));
  EXPECT_TRUE(nlohmann::json::accept(command(R"({"prefix": "dump_historic_ops"})", 0).text));
  const auto unknown = command(R"({"prefix": "make coffee"})");
  EXPECT_EQ(unknown.error, Errc::kInvalid);
  EXPECT_NE(unknown.text.find("make coffee"), std::string::npos);
}

TEST_F(OsdServerTest, OnlyTheAuthorityChangesTheMap) {
  start(0);
  start(1);
  connect_client();
  const auto reply = command(R"({"prefix": "pool create", "pool": "p"})", 1);
  EXPECT_EQ(reply.error, Errc::kStaleMap);
  EXPECT_NE(reply.text.find("osd.0"), std::string::npos) << reply.text;
}

TEST_F(OsdServerTest, WithKeysOnlyAdminEntitiesSendCommands) {
  options.auth_required = true;  // the network of this test proves nobody's identity
  start(0);
  connect_client();
  const auto reply = command(R"({"prefix": "status"})");
  EXPECT_EQ(reply.error, Errc::kNotPermitted);
  EXPECT_NE(reply.text.find("osd_admin_entities"), std::string::npos) << reply.text;
}

}  // namespace
}  // namespace lunar::osd
