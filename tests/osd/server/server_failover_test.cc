// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/placement.h"
#include "tests/osd/server/rados_like_store.h"
#include "tests/osd/server/server_fixture.h"

namespace lunar::osd {
namespace {

using objecter::MessageType;
using objecter::OsdOpHeader;

// Three servers in RADOS, the first one the authority, and a pool over them.
class ServerFailoverTest : public ServerFixture {
 protected:
  void SetUp() override {
    pool_words = R"(, "store": "rados", "rados_pool": "p")";
    for (OsdId id = 0; id < 3; ++id)
      start(id).server->set_on_set_aside([this, id](const std::string&) { set_aside.insert(id); });
    connect_client();
    make_pool();
    name = name_on(1);
  }
  // What ends calls back into ours.
  void TearDown() override {
    client->shutdown([] {});
    turn();
    client.reset();
    for (OsdId id = 2; id >= 0; --id) stop(id);
    turn();
  }
  std::unique_ptr<ObjectStore> store_of(OsdId id, std::unique_ptr<ObjectStore> in_memory) override {
    return std::make_unique<RadosLikeStore>(std::move(in_memory), "client/" + std::to_string(id),
                                            blocklist);
  }
  const objecter::PoolInfo& pool() const { return client->map()->pools.at(0); }
  OsdId osd_of(const std::string& object) const {
    return objecter::osd_of_pg(*client->map(), pool(), objecter::pg_of_object(pool(), object));
  }
  std::string name_on(OsdId id) const {
    for (int i = 0;; ++i)
      if (const std::string object = "obj" + std::to_string(i); osd_of(object) == id) return object;
  }
  bool is_up(OsdId id) const { return osds.at(0).server->map()->find_osd(id)->up; }

  const std::shared_ptr<FakeBlocklist> blocklist = std::make_shared<FakeBlocklist>();
  std::set<OsdId> set_aside;
  std::string name;  // of an object on osd.1
};

TEST_F(ServerFailoverTest, AServerThatIsDownIsFencedAndSetAsideAndReplaced) {
  ASSERT_FALSE(write(name, "old"));
  ASSERT_EQ(command(R"({"prefix": "osd down", "osd": 1})").error, OsdErrc::kOk);
  EXPECT_EQ(blocklist->clients, std::vector<std::string>{"client/1"});
  EXPECT_EQ(set_aside, std::set<OsdId>{1});
  EXPECT_FALSE(is_up(1)) << "this start of it is not up again";
  EXPECT_FALSE(write(name, "new"));
  EXPECT_NE(osd_of(name), 1);
  EXPECT_EQ(read(name, 3), "new");
}

TEST_F(ServerFailoverTest, AServerThatIsSetAsideAnswersNobody) {
  RawClient raw(*center, stack, osds[1].address);
  OsdOpHeader op;
  op.tid = op.oldest_tid = 1;
  op.attempt = 1;
  op.epoch = client->map()->epoch;
  op.pg = objecter::pg_of_object(pool(), name);
  op.object = name;
  op.steps.emplace_back();
  op.steps[0].code = OpCode::kRead;
  op.steps[0].length = 1;
  raw.send(MessageType::kOsdOp, op, op.tid);
  ASSERT_EQ(raw.count(MessageType::kOsdOpReply), 1u);
  ASSERT_EQ(command(R"({"prefix": "osd down", "osd": 1})").error, OsdErrc::kOk);
  op.tid = 2;
  raw.send(MessageType::kOsdOp, op, op.tid);
  EXPECT_EQ(raw.count(MessageType::kOsdOpReply), 1u);
}

TEST_F(ServerFailoverTest, OpsOfAServerThatEndsGoToItsHeirsWithoutAnError) {
  osds[1].store->hold(FaultyStore::Call::kWrite);
  const auto begun = submit(name, OpCode::kWrite, 0, 3, "old");
  turn();
  bool is_stopped = false;
  osds[1].server->shutdown([&] { is_stopped = true; });
  turn();
  const auto late = submit(name, OpCode::kWrite, 3, 3, "new");
  turn();
  EXPECT_TRUE(is_up(1)) << "it has something in its hands";
  EXPECT_TRUE(blocklist->clients.empty());
  osds[1].store->release(FaultyStore::Call::kWrite);
  EXPECT_TRUE(until([&] { return is_stopped; }));
  EXPECT_TRUE(until([&] { return !late->error; })) << late->error.message();
  EXPECT_FALSE(begun->error) << begun->error.message();
  EXPECT_FALSE(is_up(1));
  EXPECT_NE(osd_of(name), 1);
  osds[1].server.reset();
}

TEST_F(ServerFailoverTest, WhoCannotBeFencedKeepsItsPgsUntilItCan) {
  blocklist->fails = true;
  stop(1);
  turn();
  EXPECT_TRUE(is_up(1));
  EXPECT_NE(command(R"({"prefix": "status"})").text.find("no monitor"), std::string::npos);
  const auto waiting = submit(name, OpCode::kWrite, 0, 3, "new");
  turn();
  EXPECT_TRUE(waiting->error);
  blocklist->fails = false;
  EXPECT_TRUE(until([&] { return !is_up(1); }));
  EXPECT_TRUE(until([&] { return !waiting->error; }));
  EXPECT_EQ(command(R"({"prefix": "status"})").text.find("no monitor"), std::string::npos);
}

TEST_F(ServerFailoverTest, AListOfAServerIsOfTheVeryMapThatIsNamed) {
  RawClient raw(*center, stack, osds[2].address);
  OsdOpHeader op;
  op.tid = op.oldest_tid = 1;
  op.attempt = 1;
  op.pg = objecter::pg_of_object(pool(), name_on(2));
  op.steps.emplace_back();
  op.steps[0].code = OpCode::kList;
  op.steps[0].length = 10;
  for (const bool is_of_server : {true, false}) {
    op.steps[0].flags = is_of_server ? objecter::kOfServer : 0;
    for (const objecter::Epoch behind : {0, 1}) {
      op.epoch = client->map()->epoch - behind;
      ++op.tid;
      raw.send(MessageType::kOsdOp, op, op.tid);
      const bool is_stale = is_of_server && behind != 0;
      EXPECT_EQ(raw.last_reply().error, is_stale ? OsdErrc::kStaleMap : OsdErrc::kOk);
    }
  }
}

}  // namespace
}  // namespace lunar::osd
