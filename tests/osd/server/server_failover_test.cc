// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/placement.h"
#include "tests/osd/server/server_fixture.h"

namespace lunar::osd {
namespace {

using objecter::MessageType;
using objecter::OsdOpHeader;
using objecter::StoreKind;

// What Ceph's monitors are told.
struct FakeBlocklist {
  std::vector<std::string> clients;
  bool fails = false;
};

// In memory, but for others one in RADOS. What servers have of a pool is not the same: what an heir
// has not written itself it does not have.
class RadosLikeStore final : public ForwardingStore {
 public:
  RadosLikeStore(std::unique_ptr<ObjectStore> own, std::string client, FakeBlocklist& blocklist)
      : ForwardingStore(*own),
        own_(std::move(own)),
        client_(std::move(client)),
        blocklist_(blocklist) {}
  bool keeps(const objecter::PoolInfo& pool) const noexcept override {
    return pool.store == StoreKind::kRados;
  }
  void check_new_pool(const objecter::PoolInfo&,
                      UniqueFunction<void(Outcome<void>)> done) override {
    done({});
  }
  StoreKind kind() const noexcept override { return StoreKind::kRados; }
  std::string client() const override { return client_; }
  void fence(const std::string& client, UniqueFunction<void(Outcome<void>)> done) override {
    if (blocklist_.fails) return done(failure(OsdErrc::kIoError, "no monitor"));
    blocklist_.clients.push_back(client);
    done({});
  }

 private:
  const std::unique_ptr<ObjectStore> own_;
  const std::string client_;
  FakeBlocklist& blocklist_;
};

// Three servers in RADOS, the first one the authority, and a pool over them.
class ServerFailoverTest : public ServerFixture {
 protected:
  void SetUp() override {
    for (OsdId id = 0; id < 3; ++id) start_in_rados(id);
    connect_client();
    const auto made =
        command(R"({"prefix": "pool create", "pool": "rbd", "store": "rados", "rados_pool": "p"})");
    ASSERT_EQ(made.error, OsdErrc::kOk) << made.text;
    name = name_on(1);
  }
  // They borrow what is ours.
  void TearDown() override {
    client->shutdown([] {});
    turn();
    client.reset();
    for (OsdId id = 2; id >= 0; --id) stop(id);
    turn();
  }
  void start_in_rados(OsdId id) {
    MemStore::Options own;
    own.identity = {fsid, Uuid::random(), id};
    osds[id].store = std::make_unique<FaultyStore>(
        *center,
        std::make_unique<RadosLikeStore>(std::make_unique<MemStore>(*center, stack.buffers(), own),
                                         "client/" + std::to_string(id), blocklist));
    if (id == 0) {
      std::vector<std::byte> record;
      objecter::encode(make_first_map(fsid, 0, own.identity.store), record);
      osds[0].store->put_record(kMapRecord, std::move(record), [](std::error_code) {});
      turn();
    }
    start(id).server->set_on_set_aside([this, id](const std::string&) { set_aside.insert(id); });
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

  FakeBlocklist blocklist;
  std::set<OsdId> set_aside;
  std::string name;  // of an object on osd.1
};

TEST_F(ServerFailoverTest, AServerThatIsDownIsFencedAndSetAsideAndReplaced) {
  ASSERT_FALSE(write(name, "old"));
  ASSERT_EQ(command(R"({"prefix": "osd down", "osd": 1})").error, OsdErrc::kOk);
  EXPECT_EQ(blocklist.clients, std::vector<std::string>{"client/1"});
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
  EXPECT_TRUE(blocklist.clients.empty());
  osds[1].store->release(FaultyStore::Call::kWrite);
  EXPECT_TRUE(until([&] { return is_stopped; }));
  EXPECT_TRUE(until([&] { return !late->error; })) << late->error.message();
  EXPECT_FALSE(begun->error) << begun->error.message();
  EXPECT_FALSE(is_up(1));
  EXPECT_NE(osd_of(name), 1);
  osds[1].server.reset();
}

TEST_F(ServerFailoverTest, WhoCannotBeFencedKeepsItsPgsUntilItCan) {
  blocklist.fails = true;
  stop(1);
  turn();
  EXPECT_TRUE(is_up(1));
  EXPECT_NE(command(R"({"prefix": "status"})").text.find("no monitor"), std::string::npos);
  const auto waiting = submit(name, OpCode::kWrite, 0, 3, "new");
  turn();
  EXPECT_TRUE(waiting->error);
  blocklist.fails = false;
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
