// SPDX-License-Identifier: LGPL-2.1-or-later
// Servers whose store is not the one that the map means: made anew, copied, or replaced; and the
// loss of the authority's.
#include <nlohmann/json.hpp>

#include "objecter/protocol/placement.h"
#include "osd/server/osd_server.h"
#include "tests/osd/server/server_fixture.h"

namespace lunar::osd {
namespace {

using nlohmann::json;
using objecter::MessageType;

class ServerIdentityTest : public ServerFixture {
 protected:
  ServerIdentityTest() {
    options.retry_interval = std::chrono::milliseconds(5);
    start(0);
    start(1);
    connect_client();
    make_pool();
    for (int i = 0; i < kObjects; ++i) EXPECT_FALSE(write(name(i), content(i)));
  }
  static std::string name(int i) { return "obj" + std::to_string(i); }
  static std::string content(int i) { return "content of " + std::to_string(i); }
  OsdId osd_of(int i) const {
    const objecter::PoolInfo& pool = client->map()->pools.at(0);
    return objecter::osd_of_pg(pool, objecter::pg_of_object(pool, name(i)));
  }
  // Everything durable of a store, as `cp -a` of a file store would have it.
  std::unique_ptr<FaultyStore> copy_of(FaultyStore& store) {
    MemStore::Options copied;
    copied.identity = store.identity();
    auto copy = std::make_unique<FaultyStore>(
        *center, std::make_unique<MemStore>(*center, stack.buffers(), copied));
    for (const std::string& key : store.record_keys(""))
      copy->put_record(key, *store.get_record(key), [](std::error_code) {});
    turn();
    return copy;
  }
  // What the server at this address says to an op of a client that never heard of other servers.
  OsdErrc answer_at(const msgr::Address& address, int object) {
    RawClient raw(*center, stack, address, "raw", ++nonce_);
    const objecter::PoolInfo& pool = client->map()->pools.at(0);
    OsdOpHeader op;
    op.tid = op.oldest_tid = 1;
    op.epoch = 1;
    op.object = name(object);
    op.pg = objecter::pg_of_object(pool, op.object);
    op.steps.resize(1);
    op.steps[0].code = OpCode::kRead;
    op.steps[0].length = 1;
    raw.send(MessageType::kOsdOp, op, op.tid);
    return raw.last_reply().error;
  }
  // And to a command.
  objecter::CommandReply answer_to(const msgr::Address& address, const std::string& prefix) {
    RawClient raw(*center, stack, address, "raw", ++nonce_);
    const std::string text = R"({"prefix": ")" + prefix + "\"}";
    raw.send(MessageType::kCommand, {as_const_bytes(text).begin(), as_const_bytes(text).end()}, 1);
    const auto message = raw.last(MessageType::kCommandReply);
    const auto reply = objecter::decode_command_reply(message.front, as_const_bytes(message.data));
    EXPECT_TRUE(reply);
    return reply ? *reply : objecter::CommandReply();
  }
  int object_on(OsdId osd) const {
    for (int i = 0;; ++i)
      if (osd_of(i) == osd) return i;
  }
  // `map restore`, said in so many words.
  objecter::CommandReply restore(const std::string& backup, const json& extra) {
    json request = {{"prefix", "map restore"}, {"map", backup}, {"yes_i_really_mean_it", true}};
    request.update(extra);
    objecter::CommandReply reply;
    bool is_done = false;
    client->command(-1, request.dump(), std::chrono::seconds(20), [&](Outcome<std::string> answer) {
      reply.error = answer ? OsdErrc::kOk : static_cast<OsdErrc>(answer.error().code.value());
      reply.text = answer ? *answer : answer.error().message;
      is_done = true;
    });
    EXPECT_TRUE(until([&] { return is_done; }));
    return reply;
  }
  // The authority starts again with another map.
  void restart_authority_with(const objecter::OsdMap& map) {
    stop(0);
    std::vector<std::byte> record;
    objecter::encode(map, record);
    osds[0].store->put_record(kMapRecord, std::move(record), [](std::error_code) {});
    turn();
    start(0);
  }
  bool is_up(OsdId osd) { return osds[0].server->map()->find_osd(osd)->up; }

  static constexpr int kObjects = 24;

 private:
  uint64_t nonce_ = 0;
};

// It has booted, and a later map says that it is down before it has a map in which it is up.
TEST_F(ServerIdentityTest, AServerThatIsMarkedDownBeforeItServesIsUpAgain) {
  make_store(2, fsid);
  FaultyStore& store = *osds[2].store;
  store.hold(FaultyStore::Call::kRecord);
  start(2);
  const auto is_up = [&] {
    const objecter::OsdInfo* osd = osds[0].server->map()->find_osd(2);
    return osd != nullptr && osd->up;
  };
  for (int record = 0; record < 10 && !is_up(); ++record) {  // those of its start
    store.release(FaultyStore::Call::kRecord);
    store.hold(FaultyStore::Call::kRecord);
    turn();
  }
  ASSERT_TRUE(is_up());
  ASSERT_TRUE(osds[2].address.is_unset()) << "its first map is not kept yet";
  ASSERT_EQ(command(R"({"prefix": "osd down", "osd": 2})").error, OsdErrc::kOk);
  store.release(FaultyStore::Call::kRecord);
  EXPECT_TRUE(until([&] { return !osds[2].address.is_unset(); }));
  EXPECT_TRUE(is_up());
}

TEST_F(ServerIdentityTest, AServerThatWasNotAcceptedAnswersNotYet) {
  const int object = object_on(1);
  stop(1);
  stop(0);
  start(1);  // its map is in its store, and nobody says whether that is the newest
  EXPECT_EQ(answer_at(msgr::Address::loopback(6801), object), OsdErrc::kStaleMap);
  start(0);
  ASSERT_TRUE(until([&] { return is_up(1); }));
  EXPECT_EQ(answer_at(osds[1].address, object), OsdErrc::kOk);
}

TEST_F(ServerIdentityTest, AServerThatWasNotAcceptedSaysWhyItShowsNothing) {
  stop(1);
  stop(0);
  start(1);
  const auto shown = answer_to(msgr::Address::loopback(6801), "status");
  EXPECT_EQ(shown.error, OsdErrc::kStaleMap);
  EXPECT_NE(shown.text.find("osd.1 does not serve yet"), std::string::npos) << shown.text;
  const auto changed = answer_to(msgr::Address::loopback(6801), "pool create");
  EXPECT_EQ(changed.error, OsdErrc::kStaleMap);
  EXPECT_NE(changed.text.find("osd.1 does not change the map"), std::string::npos) << changed.text;
}

TEST_F(ServerIdentityTest, ClientsWaitForAServerThatWasNotAccepted) {
  const int object = object_on(1);
  stop(1);
  stop(0);
  start(1);
  const auto answer = submit(name(object), OpCode::kRead, 0, content(object).size());
  for (int i = 0; i < 50; ++i) turn();
  EXPECT_EQ(answer->error, OsdErrc::kBusy) << "no answer";
  start(0);
  ASSERT_TRUE(until([&] { return answer->error != OsdErrc::kBusy; }));
  EXPECT_FALSE(answer->error) << answer->error.message();
  EXPECT_EQ(answer->data, content(object));
}

TEST_F(ServerIdentityTest, AStoreMadeAnewServesNothingAndIsRefused) {
  const int object = object_on(1);
  stop(1);
  stop(0);
  osds[1].store.reset();
  osds[1].address = {};
  start(1);
  EXPECT_EQ(answer_at(msgr::Address::loopback(6801), object), OsdErrc::kStaleMap);
  const auto read = submit(name(object), OpCode::kRead, 0, content(object).size());
  const auto write = submit(name(object), OpCode::kWrite, 0, 1, "x");
  start(0);
  ASSERT_TRUE(until([&] { return !osds[1].refused.empty(); }));
  EXPECT_NE(osds[1].refused.find("osd replace 1"), std::string::npos) << osds[1].refused;
  for (int i = 0; i < 50; ++i) turn();
  EXPECT_EQ(answer_at(msgr::Address::loopback(6801), object), OsdErrc::kStaleMap);
  EXPECT_EQ(read->error, OsdErrc::kBusy) << "no answer, and no zeroes";
  EXPECT_EQ(write->error, OsdErrc::kBusy);
}

TEST_F(ServerIdentityTest, AReplacedStoreTellsOfWhatIsLost) {
  stop(1);
  osds[1].store.reset();
  osds[1].address = {};
  make_store(1, fsid);
  const json request = {{"prefix", "osd replace"},
                        {"osd", 1},
                        {"store", osds[1].store->identity().store.to_string()},
                        {"yes_i_really_mean_it", true}};
  const auto replaced = command(request.dump());
  ASSERT_EQ(replaced.error, OsdErrc::kOk) << replaced.text;
  start(1);
  ASSERT_TRUE(until([&] { return is_up(1); }));
  const int object = object_on(1);
  const auto get = [&](int i) {
    const auto answer = submit(name(i), OpCode::kRead, 0, content(i).size());
    EXPECT_TRUE(until([&] { return answer->error != OsdErrc::kBusy; }));
    return answer;
  };
  EXPECT_EQ(get(object)->error, OsdErrc::kIoError) << "no zeroes";
  EXPECT_EQ(get(object_on(0))->data, content(object_on(0)));
  EXPECT_EQ(write(name(object), "part"), OsdErrc::kIoError) << "the rest of it would be zeroes";
  make_pool("later");
  const objecter::PoolId later = client->map()->find_pool("later")->id;
  EXPECT_GE(later, client->map()->find_osd(1)->lost_below) << "there it has lost nothing";
}

TEST_F(ServerIdentityTest, ACopyIsRefusedOnceTheOriginalHasStarted) {
  stop(1);
  auto copy = copy_of(*osds[1].store);
  start(1);
  stop(1);
  std::swap(osds[1].store, copy);
  osds[1].address = {};
  start(1);
  ASSERT_TRUE(until([&] { return !osds[1].refused.empty(); }));
  EXPECT_NE(osds[1].refused.find("a copy of store"), std::string::npos) << osds[1].refused;
  EXPECT_TRUE(osds[1].address.is_unset());
  stop(1);
  osds[1].refused.clear();
  std::swap(osds[1].store, copy);
  start(1);
  EXPECT_TRUE(until([&] { return is_up(1); })) << osds[1].refused;
}

TEST_F(ServerIdentityTest, ACopyOfTheRunningStoreIsNotLetInWhileThatRuns) {
  const auto known = *osds[0].server->map()->find_osd(1);
  osds[11].store = copy_of(*osds[1].store);
  start(11);
  for (int i = 0; i < 50; ++i) turn();
  EXPECT_TRUE(osds[11].address.is_unset());
  EXPECT_EQ(*osds[0].server->map()->find_osd(1), known);
  const int object = object_on(1);
  EXPECT_EQ(answer_at(msgr::Address::loopback(6811), object), OsdErrc::kStaleMap);
  EXPECT_EQ(answer_at(osds[1].address, object), OsdErrc::kOk);
}

// The authority has not heard of the original since it was started, or lost its link a moment ago.
TEST_F(ServerIdentityTest, ACopyWaitsWhileTheOriginalMayComeBack) {
  const auto known = *osds[0].server->map()->find_osd(1);
  stop(0);
  stop(1);
  start(0);
  osds[11].store = copy_of(*osds[1].store);
  start(11);
  for (int i = 0; i < 50; ++i) turn();
  EXPECT_TRUE(osds[11].address.is_unset());
  EXPECT_EQ(*osds[0].server->map()->find_osd(1), known);
  osds[1].address = {};
  start(1);
  EXPECT_TRUE(until([&] { return !osds[1].address.is_unset(); }, std::chrono::seconds(1)))
      << "at its own address it is let in at once";
  for (int i = 0; i < 50; ++i) turn();
  EXPECT_TRUE(osds[11].address.is_unset());
}

TEST_F(ServerIdentityTest, AServerThatHasMovedIsLetInWhenItsGraceIsOver) {
  stop(0);
  stop(1);
  start(0);
  std::swap(osds[11].store, osds[1].store);
  start(11);
  for (int i = 0; i < 50; ++i) turn();
  EXPECT_TRUE(osds[11].address.is_unset());
  EXPECT_TRUE(until([&] { return !osds[11].address.is_unset(); })) << osds[11].refused;
}

TEST_F(ServerIdentityTest, AServerThatLearnsOfAnotherStartEnds) {
  objecter::OsdMap changed = *osds[0].server->map();
  changed.epoch += 10;
  changed.osds[1].incarnation += uint64_t{1} << 32;
  restart_authority_with(changed);
  ASSERT_TRUE(until([&] { return !osds[1].refused.empty(); }));
  EXPECT_NE(osds[1].refused.find("a copy of store"), std::string::npos) << osds[1].refused;
  EXPECT_EQ(answer_at(osds[1].address, object_on(1)), OsdErrc::kStaleMap);
}

// Its store was put back, and it has given out a pool id for the second time.
TEST_F(ServerIdentityTest, AMapInWhichAPoolIsAnotherOneIsNotTaken) {
  objecter::OsdMap changed = *osds[0].server->map();
  changed.epoch += 10;
  changed.pools[0].name = "another";
  restart_authority_with(changed);
  ASSERT_TRUE(until([&] { return !osds[1].refused.empty(); }));
  EXPECT_NE(osds[1].refused.find("'another'"), std::string::npos) << osds[1].refused;
  EXPECT_LT(osds[1].server->map()->epoch, changed.epoch);
}

TEST_F(ServerIdentityTest, NoPoolIdIsGivenTwiceThoughTheSameBackupIsRestoredTwice) {
  const std::string backup = command(R"({"prefix": "map backup"})").text;
  std::vector<objecter::PoolId> ids;
  for (const char* const pool : {"first", "second"}) {
    stop(0);
    osds[0].store.reset();
    osds[0].address = {};
    start(0);
    ASSERT_FALSE(osds[0].address.is_unset()) << osds[0].refused;
    ASSERT_EQ(restore(backup, {{"osd_lost", {0}}}).error, OsdErrc::kOk);
    ASSERT_TRUE(until([&] { return is_up(1); })) << osds[1].refused;
    make_pool(pool);
    ids.push_back(osds[0].server->map()->find_pool(std::string_view(pool))->id);
    ASSERT_TRUE(until([&] { return osds[1].server->map()->find_pool(ids.back()) != nullptr; }));
  }
  EXPECT_LT(ids[0], ids[1]);
}

// docs/operations.md, "Backup of the map".
TEST_F(ServerIdentityTest, TheMapIsRestoredAfterTheLossOfTheAuthoritysStore) {
  const std::string backup = command(R"({"prefix": "map backup"})").text;
  const Uuid lost = osds[0].store->identity().store;
  stop(0);
  const Epoch before = osds[1].server->map()->epoch;
  osds[0].store.reset();
  osds[0].address = {};
  start(0);
  ASSERT_FALSE(osds[0].address.is_unset()) << osds[0].refused;
  for (int i = 0; i < 50; ++i) turn();
  EXPECT_EQ(osds[1].server->map()->epoch, before) << "it does not take a map that is not of it";
  EXPECT_TRUE(osds[1].refused.empty()) << osds[1].refused;

  objecter::CommandReply reply = restore(backup, json::object());
  EXPECT_EQ(reply.error, OsdErrc::kNotPermitted);
  EXPECT_NE(reply.text.find(lost.to_string()), std::string::npos) << reply.text;
  reply = restore(backup, {{"osd_lost", {0}}});
  ASSERT_EQ(reply.error, OsdErrc::kOk) << reply.text;
  ASSERT_TRUE(until([&] { return is_up(1); })) << "the healthy server comes back";

  for (int i = 0; i < kObjects; ++i) {
    const auto answer = submit(name(i), OpCode::kRead, 0, content(i).size());
    ASSERT_TRUE(until([&] { return answer->error != OsdErrc::kBusy; })) << i;
    if (osd_of(i) == 1)
      EXPECT_EQ(answer->data, content(i));
    else
      EXPECT_EQ(answer->error, OsdErrc::kIoError) << "lost, and not zeroes";
  }
  stop(0);
  osds[0].address = {};
  start(0);
  EXPECT_FALSE(osds[0].address.is_unset()) << osds[0].refused;
}

}  // namespace
}  // namespace lunar::osd
