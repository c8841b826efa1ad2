// SPDX-License-Identifier: LGPL-2.1-or-later
// Servers whose keyring changes, and others whose keys were stolen.
#include <gtest/gtest.h>

#include "objecter/protocol/placement.h"
#include "tests/osd/server/server_fixture.h"
#include "tests/support/fake_osd.h"

namespace lunar::osd {
namespace {

using objecter::MessageType;

class ServerKeysTest : public ServerFixture {
 protected:
  ServerKeysTest() {
    keyring.emplace();
    for (const char* entity : {"osd.0", "osd.1", "osd.2", "client.admin", "client.a", "client.b"})
      keyring->generate(*EntityName::parse(entity));
    for (const char* entity : {"client.a", "client.b"}) {
      clients.add(*EntityName::parse(entity), keyring->find(*EntityName::parse(entity))->clone());
    }
    options.auth_required = true;
    options.retry_interval = std::chrono::milliseconds(5);
    start(0);
    connect_client();
    for (const char* entity : {"client.a", "client.b"}) {
      const auto reply = command(R"({"prefix": "auth caps", "entity": ")" + std::string(entity) +
                                 R"(", "caps": "allow rw"})");
      EXPECT_EQ(reply.error, OsdErrc::kOk) << reply.text;
    }
  }
  RawClient::Identity as(const std::string& entity) { return {&clients, entity, "raw", 1}; }
  void post_write(RawClient& raw, uint64_t tid, const std::string& object,
                  const std::string& data) {
    const objecter::PoolInfo& pool = client->map()->pools.at(0);
    OsdOpHeader op;
    op.tid = tid;
    op.oldest_tid = 1;
    op.epoch = client->map()->epoch;
    op.object = object;
    op.pg = objecter::pg_of_object(pool, object);
    op.steps.resize(1);
    op.steps[0].code = OpCode::kWrite;
    op.steps[0].length = data.size();
    op.steps[0].data_length = static_cast<uint32_t>(data.size());
    std::vector<std::byte> front;
    objecter::encode(op, front);
    raw.post(MessageType::kOsdOp, std::move(front), tid, data);
    turn();
  }
  Keyring clients;  // of clients, which keep their keys
};

TEST_F(ServerKeysTest, WhatARevokedEntityHasSentIsNotBegun) {
  make_pool();
  RawClient revoked(*center, stack, osds[0].address, as("client.a"));
  RawClient other(*center, stack, osds[0].address, as("client.b"));
  post_write(revoked, 1, "object", "begun");
  ASSERT_EQ(revoked.count(MessageType::kOsdOpReply), 1u);
  FaultyStore& store = *osds[0].store;
  store.hold(FaultyStore::Call::kWrite);
  post_write(revoked, 2, "object", "first");  // in the store
  post_write(revoked, 3, "object", "later");  // waits for its turn
  post_write(other, 1, "another", "other");
  const std::size_t writes = store.calls(FaultyStore::Call::kWrite);
  keyring->remove({"client", "a"});
  osds[0].server->on_keys_changed();
  turn();
  EXPECT_FALSE(revoked.is_open());
  EXPECT_TRUE(other.is_open());
  store.release(FaultyStore::Call::kWrite);
  turn();
  EXPECT_EQ(store.calls(FaultyStore::Call::kWrite), writes) << "the third op was not begun";
  EXPECT_EQ(revoked.count(MessageType::kOsdOpReply), 1u);
  EXPECT_EQ(other.count(MessageType::kOsdOpReply), 1u);
  EXPECT_EQ(read("object", 5), "first");
  EXPECT_EQ(read("another", 5), "other");
}

TEST_F(ServerKeysTest, NoOpOfARevokedEntityBeginsInThePlaceOfAnotherOfIt) {
  make_pool();
  stop(0);
  options.executor.max_executing = 2;
  start(0);
  ASSERT_TRUE(until([&] { return client->map()->find_osd(0)->up; }));
  RawClient other(*center, stack, osds[0].address, as("client.b"));
  RawClient one(*center, stack, osds[0].address, {&clients, "client.a", "one", 1});
  RawClient two(*center, stack, osds[0].address, {&clients, "client.a", "two", 1});
  for (RawClient* raw : {&one, &two}) post_write(*raw, 1, "object", "begun");
  FaultyStore& store = *osds[0].store;
  store.hold(FaultyStore::Call::kWrite);
  post_write(other, 1, "object", "other");  // in the store
  post_write(one, 2, "object", "waits");    // for the object
  post_write(two, 2, "another", "waits");   // for the executor
  const std::size_t writes = store.calls(FaultyStore::Call::kWrite);
  keyring->remove({"client", "a"});
  osds[0].server->on_keys_changed();
  turn();
  EXPECT_EQ(store.calls(FaultyStore::Call::kWrite), writes);
  store.release(FaultyStore::Call::kWrite);
  turn();
  EXPECT_EQ(store.calls(FaultyStore::Call::kWrite), writes);
  EXPECT_EQ(other.count(MessageType::kOsdOpReply), 1u);
}

TEST_F(ServerKeysTest, NothingIsBegunOfAnEntityThatHasNoSessionWhenItsKeyGoes) {
  make_pool();
  FaultyStore& store = *osds[0].store;
  {
    RawClient revoked(*center, stack, osds[0].address, as("client.a"));
    post_write(revoked, 1, "object", "begun");
    store.hold(FaultyStore::Call::kWrite);
    post_write(revoked, 2, "object", "first");  // in the store
    post_write(revoked, 3, "object", "later");  // waits for its turn
  }  // it closes its session, and what it has sent is still here
  turn();
  const std::size_t writes = store.calls(FaultyStore::Call::kWrite);
  keyring->remove({"client", "a"});
  osds[0].server->on_keys_changed();
  turn();
  store.release(FaultyStore::Call::kWrite);
  turn();
  EXPECT_EQ(store.calls(FaultyStore::Call::kWrite), writes) << "the third op was not begun";
  EXPECT_EQ(read("object", 5), "first");
}

TEST_F(ServerKeysTest, WhoIsTakenInAgainGoesOn) {
  make_pool();
  RawClient raw(*center, stack, osds[0].address, as("client.a"));
  post_write(raw, 1, "object", "before");
  keyring->remove({"client", "a"});
  osds[0].server->on_keys_changed();
  turn();
  EXPECT_FALSE(raw.is_open());
  keyring->add({"client", "a"}, clients.find({"client", "a"})->clone());
  osds[0].server->on_keys_changed();
  ASSERT_TRUE(until([&] { return raw.is_open(); }));
  post_write(raw, 2, "object", "behind");
  ASSERT_TRUE(until([&] { return raw.count(MessageType::kOsdOpReply) == 2; }));
  EXPECT_EQ(read("object", 6), "behind");
}

TEST_F(ServerKeysTest, WhoIsTakenInAgainWhileAnOpOfItIsInTheStoreGoesOnAfterThat) {
  make_pool();
  RawClient raw(*center, stack, osds[0].address, as("client.a"));
  post_write(raw, 1, "object", "before");
  FaultyStore& store = *osds[0].store;
  store.hold(FaultyStore::Call::kWrite);
  post_write(raw, 2, "object", "inside");
  keyring->remove({"client", "a"});
  osds[0].server->on_keys_changed();
  turn();
  keyring->add({"client", "a"}, clients.find({"client", "a"})->clone());
  osds[0].server->on_keys_changed();
  ASSERT_TRUE(until([&] { return raw.is_open(); }));
  post_write(raw, 3, "object", "behind");
  EXPECT_EQ(raw.count(MessageType::kOsdOpReply), 1u) << "its op before is in the store";
  store.release(FaultyStore::Call::kWrite);
  ASSERT_TRUE(until([&] { return raw.count(MessageType::kOsdOpReply) == 2; }));
  EXPECT_EQ(read("object", 6), "behind");
}

// Who has stolen the keys of osd.2 poses as it, and has a map in which there are no pools.
TEST_F(ServerKeysTest, NoPoolIsPurgedForTheMapOfAServerThatIsNotTheAuthority) {
  start(1);
  make_pool();
  const auto objects = [&] {
    int found = 0;
    osds[1].store->list(
        1, "", 1000, [](const std::string&) { return true; },
        [&](Result<ObjectStore::Names> names) {
          found = names ? static_cast<int>(names->size()) : -1;
        });
    turn();
    return found;
  };
  for (int i = 0; i < 24; ++i) EXPECT_FALSE(write("obj" + std::to_string(i), "content"));
  const int before = objects();
  ASSERT_GT(before, 0);
  const objecter::OsdMapRef real = osds[1].server->map();
  stop(1);
  stop(0);

  const Keyring stolen = keyring->derived_for({"osd", "2"});
  msgr::MessengerOptions fake_options = test::without_authentication();
  fake_options.auth_required = true;
  test::FakeOsd fake(*center, stack, 2, fake_options, &stolen);
  fake.hello.fsid = fsid;
  fake.map = *real;
  fake.map->epoch += 1000;
  fake.map->pools.clear();
  const msgr::Address authority = std::exchange(osds[0].address, fake.start());
  start(1);
  ASSERT_TRUE(until([&] { return !fake.subscriptions.empty(); }));
  for (int i = 0; i < 20; ++i) turn();
  EXPECT_EQ(osds[1].server->map()->epoch, real->epoch);
  EXPECT_EQ(objects(), before);
  EXPECT_TRUE(osds[1].refused.empty()) << osds[1].refused;

  osds[0].address = authority;
  start(0);
  EXPECT_TRUE(until([&] { return osds[0].server->map()->find_osd(1)->up; }));
  EXPECT_EQ(objects(), before);
  stop(1);  // before the keyring of the other goes
  bool is_stopped = false;
  fake.stop([&] { is_stopped = true; });
  EXPECT_TRUE(until([&] { return is_stopped; }));
}

}  // namespace
}  // namespace lunar::osd
