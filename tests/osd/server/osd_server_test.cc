// SPDX-License-Identifier: LGPL-2.1-or-later
// Whole servers with a real Objecter, and with clients that break the rules.
#include "osd/server/osd_server.h"

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/osd/server/server_fixture.h"
#include "tests/support/messenger_options.h"

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
  EXPECT_EQ(command(R"({"prefix": "osd down", "osd": 1})").error, OsdErrc::kOk);
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

TEST_F(OsdServerTest, ARefusedBootLeavesTheKnownServerAlone) {
  start(0);
  start(1);
  {
    RawClient impostor(*center, stack, osds[0].address);
    objecter::OsdBoot boot;
    boot.osd = 1;
    boot.fsid = fsid;
    boot.store = Uuid::random();
    boot.incarnation = 1;
    boot.addresses = {msgr::Address::loopback(9)};
    impostor.send(MessageType::kOsdBoot, boot);
    const auto reply =
        objecter::decode_osd_boot_reply(impostor.last(MessageType::kOsdBootReply).front);
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->error, OsdErrc::kExists);
  }
  EXPECT_TRUE(osds[0].server->map()->find_osd(1)->up) << "the impostor's end is not its end";
  stop(1);
  EXPECT_FALSE(osds[0].server->map()->find_osd(1)->up) << "it is still watched";
}

TEST_F(OsdServerTest, AStoreWithoutAMapAndNobodyToAskIsRefused) {
  make_store(1, fsid);
  PerfRegistry perf;
  const auto server = OsdServer::create(*center, *osds[1].store, options, perf);
  ASSERT_FALSE(server);
  EXPECT_NE(server.error().message.find("mon_host"), std::string::npos);
}

// A server that is told to go before it has come.
class ShutdownDuringStartTest : public OsdServerTest {
 protected:
  void start_and_shut_down() {
    options.bootstrap = {*msgr::Address::parse("127.0.0.1:7000")};  // nobody listens there
    make_store(1, fsid);
    server = std::move(*OsdServer::create(*center, *osds[1].store, options, perf));
    msgr::MessengerOptions messenger = test::without_authentication();
    messenger.entity = "osd.1";
    server->start(stack, messenger, nullptr, {{msgr::Address::loopback(6801)}, {}},
                  [this](Outcome<msgr::Address> address) {
                    ASSERT_FALSE(address);
                    EXPECT_EQ(address.error().code, OsdErrc::kShutdown);
                    events.push_back("ready");
                  });
    if (waits_for_the_authority) turn();
    server->shutdown([this] { events.push_back("done"); });
    EXPECT_TRUE(events.empty()) << "neither runs inside the call";
    turn();
    EXPECT_EQ(events, (std::vector<std::string>{"ready", "done"}));
    server.reset();
  }

  PerfRegistry perf;
  std::unique_ptr<OsdServer> server;
  std::vector<std::string> events;
  bool waits_for_the_authority = false;
};

TEST_F(ShutdownDuringStartTest, BeforeItsRecordsAreRead) { start_and_shut_down(); }

TEST_F(ShutdownDuringStartTest, WhileItLooksForTheAuthority) {
  waits_for_the_authority = true;
  start_and_shut_down();
}

TEST_F(OsdServerTest, APortInUseIsNamed) {
  start(0);
  make_store(1, fsid);
  Osd& osd = osds[1];
  options.bootstrap = {osds[0].address};
  osd.server = std::move(*OsdServer::create(*center, *osd.store, options, *osd.perf));
  msgr::MessengerOptions messenger;
  messenger.auth_required = false;
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
  EXPECT_EQ(answer->error, OsdErrc::kBusy) << "not over yet";
  osds[0].store->release(Call::kWrite);
  turn();
  EXPECT_NE(answer->error, OsdErrc::kBusy);
  EXPECT_EQ(read("a", 3), "one");
}

TEST_F(OsdServerTest, LostWritesAreReportedByOneFlush) {
  start(0);
  connect_client();
  make_pool();
  ASSERT_FALSE(write("a", "one"));
  osds[0].store->fail_next(Call::kFlush, system_error(EIO));
  EXPECT_EQ(flush(), OsdErrc::kLostWrites);
  EXPECT_FALSE(flush());
}

TEST_F(OsdServerTest, StoreUsageSaysHowFullItIs) {
  start(0);
  connect_client();
  const auto state = [this] {
    const auto json = nlohmann::json::parse(command(R"({"prefix": "store usage"})", 0).text);
    return json.at("state").get<std::string>();
  };
  const ObjectStore::Usage usage = osds[0].store->usage();
  EXPECT_EQ(state(), "ok");
  osds[0].store->set_usage({usage.total, usage.total / 100 * 86, usage.total / 100 * 14});
  EXPECT_EQ(state(), "nearfull");
  osds[0].store->set_usage({usage.total, usage.total - 4096, 4096});
  EXPECT_EQ(state(), "full");
}

TEST_F(OsdServerTest, OpsAboveTheCapWaitTheirTurn) {
  options.executor.max_executing = 1;
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
  ASSERT_EQ(reply.error, OsdErrc::kOk) << reply.text;
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
  ASSERT_EQ(reply.error, OsdErrc::kOk) << reply.text;
  start(1);
  EXPECT_EQ(osds[1].store->usage().used, 0u);
}

TEST_F(OsdServerTest, OnlyTheAuthorityChangesTheMap) {
  start(0);
  start(1);
  connect_client();
  const auto reply = command(R"({"prefix": "pool create", "pool": "p"})", 1);
  EXPECT_EQ(reply.error, OsdErrc::kStaleMap);
  EXPECT_NE(reply.text.find("osd.0"), std::string::npos) << reply.text;
}

TEST_F(OsdServerTest, WithKeysOnlyAdminEntitiesSendCommands) {
  options.auth_required = true;  // the network of this test authenticates nobody
  start(0);
  connect_client();
  const auto reply = command(R"({"prefix": "status"})");
  EXPECT_EQ(reply.error, OsdErrc::kNotPermitted);
  EXPECT_NE(reply.text.find("osd_admin_entities"), std::string::npos) << reply.text;
}

}  // namespace
}  // namespace lunar::osd
