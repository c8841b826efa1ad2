// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The parts of osd.1 that an op goes through, beside a real authority. How whole servers behave is
// tests/osd/server.
#include "osd/service/op_service.h"

#include <list>
#include <nlohmann/json.hpp>

#include "common/log.h"
#include "objecter/protocol/placement.h"
#include "tests/osd/recording_connection.h"
#include "tests/osd/server/rados_like_store.h"
#include "tests/osd/server/server_fixture.h"

namespace lunar::osd {
namespace {

using Call = FaultyStore::Call;
using objecter::MessageType;
using std::chrono::seconds;

class OpServiceTest : public ServerFixture, private msgr::Dispatcher, private MapServiceHost {
 protected:
  void SetUp() override {
    options.limits.max_hold = seconds(3600);
    ServerFixture::start(0);
    connect_client();
    make_store(1, fsid);
    store = osds[1].store.get();
    versions = std::move(*ObjectVersions::load(*store, 1));
    fences = std::move(*FenceTable::load(*store));
    UnflushedLedger::load(
        *center, *store, *store, 1,
        [this](Outcome<std::unique_ptr<UnflushedLedger>> loaded) { ledger = std::move(*loaded); });
    turn();
    make_messenger();
    maps = make_maps(nullptr);
  }
  ~OpServiceTest() override {
    for (const Call call : {Call::kRead, Call::kWrite}) store->release(call);
    if (ops) {
      stop();
      bool is_drained = false;
      ops->drain([&] { is_drained = true; });
      turn();
      EXPECT_TRUE(is_drained);
      for (auto& connection : connections) ops->on_reset(*connection);
      ops.reset();
    }
    maps->stop([] {});
    fences->drain([] {});
    ledger->shutdown([] {});
    messenger->shutdown([] {});
    turn();
  }

  // Options may be set until then.
  void make_service() {
    ops = std::make_unique<OpService>(OpService::OpDependencies{
        *center, store->identity(), OpStore{*store, *store, *store, store->buffers()}, *store,
        options, *versions, *fences, access, *maps, perf});
  }
  // Up, with a pool: ops can be executed.
  void serve() {
    if (!ops) make_service();
    ops->start(*ledger);
    maps->start(*messenger, {msgr::Address::loopback(6801)});
    turn();
    make_pool();
    ASSERT_TRUE(maps->may_serve());
    pool = maps->map()->pools.at(0);
    for (int i = 0; objects.size() < 2; ++i)
      if (std::string name = "obj" + std::to_string(i); osd_of(name) == 1)
        objects.push_back(std::move(name));
  }
  OsdId osd_of(const std::string& object) const {
    return objecter::osd_of_pg(pool, objecter::pg_of_object(pool, object));
  }
  // `known` is the store's map, or null.
  std::unique_ptr<MapService> make_maps(objecter::OsdMapRef known) {
    MapService::Options service;
    service.identity = store->identity();
    service.incarnation = 1;
    service.bootstrap = {osds[0].address};
    service.auth_required = false;
    return std::make_unique<MapService>(*center, *store, *store, access,
                                        static_cast<MapServiceHost&>(*this), std::move(known),
                                        service);
  }
  void stop() {
    if (!std::exchange(is_stopped, true)) ops->stop();
  }

  RecordingConnection& connect(const std::string& entity = "client.a", uint64_t nonce = 1,
                               bool follows_moves = false) {
    connections.push_back(std::make_shared<RecordingConnection>(
        *center, objecter::ClientIdentity{entity, "host", nonce}, msgr::Address(), follows_moves));
    ops->on_open(*connections.back());
    return *connections.back();
  }
  OsdOpHeader header(Tid tid, OpCode code) {
    OsdOpHeader op;
    op.tid = tid;
    op.oldest_tid = 1;
    op.epoch = maps->epoch();
    op.object = objects.at(0);
    op.pg = objecter::pg_of_object(pool, op.object);
    op.steps.resize(1);
    op.steps[0].code = code;
    op.steps[0].length = 1;
    if (code == OpCode::kWrite) op.steps[0].data_length = 1;
    return op;
  }
  // Of an object that is not on this server.
  OsdOpHeader misplaced(Tid tid) {
    OsdOpHeader op = header(tid, OpCode::kRead);
    for (int i = 0; osd_of(op.object) == 1; ++i) op.object = "obj" + std::to_string(i);
    op.pg = objecter::pg_of_object(pool, op.object);
    return op;
  }
  void send(RecordingConnection& connection, const OsdOpHeader& op) {
    msgr::InMessage message;
    message.meta.type = static_cast<uint16_t>(MessageType::kOsdOp);
    message.meta.tid = op.tid;
    objecter::encode(op, message.front);
    auto data = std::make_shared<std::vector<std::byte>>(op.steps[0].data_length, std::byte{'x'});
    message.data = *data;
    message.release_throttle = [data] {};
    ops->on_op(connection, std::move(message));
  }
  void write(RecordingConnection& connection, Tid tid) {
    send(connection, header(tid, OpCode::kWrite));
    turn();
  }
  // Serves a client whose op 2, a write, stays in the store until release(). Op 1 is over: with it
  // the start of the client was recorded.
  RecordingConnection& serve_and_hold_a_write(const std::string& entity = "client.a") {
    serve();
    RecordingConnection& connection = connect(entity);
    write(connection, 1);
    store->hold(Call::kWrite);
    write(connection, 2);
    return connection;
  }
  // Under the map after the present one.
  void write_early(RecordingConnection& connection, Tid tid) {
    OsdOpHeader op = header(tid, OpCode::kWrite);
    ++op.epoch;
    send(connection, op);
    turn();
  }
  void change_map() { make_pool("pool" + std::to_string(maps->epoch())); }
  void cancel(RecordingConnection& connection, Tid tid) {
    std::vector<std::byte> front;
    objecter::encode(objecter::CancelNote{tid}, front);
    ops->on_cancel(connection, front);
    turn();
  }
  using Replies = std::vector<std::pair<Tid, OsdErrc>>;
  static Replies replies(const RecordingConnection& connection) {
    Replies found;
    for (const auto& [type, front] : connection.sent) {
      if (type != MessageType::kOsdOpReply) continue;
      const auto reply = objecter::decode_osd_reply(front, 0);
      EXPECT_TRUE(reply);
      if (reply) found.emplace_back(reply->tid, reply->error);
    }
    return found;
  }
  static std::size_t cancellations(const RecordingConnection& connection) {
    return connection.messages(MessageType::kCancelled, objecter::decode_cancel_note).size();
  }
  std::size_t under_way() const {
    return nlohmann::json::parse(ops->tracker().in_flight_json(monotonic_now())).at("num_ops");
  }
  // A counter of the service; "op" are the ops that have ended.
  uint64_t counted(const std::string& name) const {
    return nlohmann::json::parse(perf.dump("osd")).at("osd").at(name);
  }
  std::size_t writes() const { return store->calls(Call::kWrite); }

  FaultyStore* store = nullptr;
  PerfRegistry perf;
  AccessControl access{{.auth_required = false, .admins = {}}};
  std::unique_ptr<ObjectVersions> versions;
  std::unique_ptr<FenceTable> fences;
  std::unique_ptr<UnflushedLedger> ledger;
  std::unique_ptr<msgr::Messenger> messenger;
  std::unique_ptr<MapService> maps;
  std::unique_ptr<OpService> ops;
  std::list<std::shared_ptr<RecordingConnection>> connections;
  objecter::PoolInfo pool;
  std::vector<std::string> objects;  // of this server
  bool is_stopped = false;

 private:
  void make_messenger() {
    msgr::MessengerOptions identity;
    identity.auth_required = false;
    identity.entity = identity.instance = "osd.1";
    messenger = std::move(*msgr::Messenger::create(*center, stack, identity, nullptr, nullptr,
                                                   static_cast<msgr::Dispatcher*>(this)));
  }
  // Dispatcher: of the connection to the authority.
  AuthorityLink* link_of(const msgr::Connection& connection) {
    AuthorityLink* const link = maps->link();
    return link != nullptr && link->owns(connection) ? link : nullptr;
  }
  void on_open(msgr::Connection& connection) override {
    if (AuthorityLink* const link = link_of(connection)) link->on_open(connection);
  }
  void on_message(msgr::Connection& connection, msgr::InMessage message) override {
    if (AuthorityLink* const link = link_of(connection)) link->on_message(connection, message);
  }
  void on_reset(msgr::Connection& connection, std::error_code why) override {
    if (AuthorityLink* const link = link_of(connection)) link->on_reset(connection, why);
  }
  // MapServiceHost
  void on_map(const objecter::OsdMapRef& map) override {
    if (ops) ops->on_map(map->epoch);
  }
  void on_ready() override { ops->on_serving(); }
  void on_refused(const Error& error) override { ADD_FAILURE() << error.message; }
  void on_set_aside(const std::string& why) override { ADD_FAILURE() << why; }
};

// --- waiting for a map ---

TEST_F(OpServiceTest, AnOpThatIsCancelledWhileItWaitsForAMapIsNotExecuted) {
  serve();
  RecordingConnection& a = connect();
  write_early(a, 1);
  write_early(a, 2);
  cancel(a, 1);
  EXPECT_EQ(cancellations(a), 1u);
  EXPECT_EQ(under_way(), 1u);
  EXPECT_EQ(counted("op"), 1u);
  change_map();
  EXPECT_EQ(replies(a), (Replies{{2, OsdErrc::kOk}}));
  EXPECT_EQ(writes(), 1u);
}

TEST_F(OpServiceTest, WhatWaitsForAMapGoesWithItsConnectionAndLeavesItsRoom) {
  options.executor.max_waiting = 1;
  serve();
  RecordingConnection& a = connect();
  RecordingConnection& b = connect("client.b");
  write_early(a, 1);
  ops->on_reset(a);
  write_early(b, 1);
  change_map();
  EXPECT_TRUE(replies(a).empty());
  EXPECT_EQ(replies(b), (Replies{{1, OsdErrc::kOk}}));
  EXPECT_EQ(writes(), 1u);
}

TEST_F(OpServiceTest, WhatWaitsForAMapIsNotExecutedForWhoIsRevoked) {
  serve();
  RecordingConnection& a = connect();
  write_early(a, 1);
  bool is_over = false;
  ops->revoke("client.a", [&] { is_over = true; });
  EXPECT_TRUE(is_over) << "nothing of it executes";
  change_map();
  EXPECT_TRUE(replies(a).empty());
  EXPECT_EQ(writes(), 0u);
}

TEST_F(OpServiceTest, OneConnectionMayWaitForAMapWithFewerOpsThanAll) {
  options.executor.max_waiting_of_one = 2;
  options.executor.max_waiting = 3;
  serve();
  RecordingConnection& a = connect();
  RecordingConnection& b = connect("client.b");
  for (Tid tid = 1; tid <= 3; ++tid) write_early(a, tid);
  EXPECT_EQ(replies(a), (Replies{{3, OsdErrc::kBusy}}));
  write_early(b, 1);
  write_early(b, 2);
  EXPECT_EQ(replies(b), (Replies{{2, OsdErrc::kBusy}}));
  change_map();
  EXPECT_EQ(writes(), 3u);
}

TEST_F(OpServiceTest, AnOpWaitsForAMapAsLongAsItMayBeHeldAndNoLonger) {
  options.limits.max_hold = seconds(5);
  serve();
  RecordingConnection& a = connect();
  const auto arrived = monotonic_now();
  write_early(a, 1);
  ops->tick(arrived + seconds(5) - std::chrono::nanoseconds(1));
  EXPECT_TRUE(replies(a).empty());
  ops->tick(arrived + seconds(5));
  EXPECT_EQ(replies(a), (Replies{{1, OsdErrc::kStaleMap}}));
  EXPECT_EQ(under_way(), 0u);
}

// --- admission ---

// The map of an earlier start may say that we are up.
TEST_F(OpServiceTest, NothingIsExecutedBeforeTheClusterHasThisStartAsUp) {
  serve();
  stop();
  ops->drain([] {});
  turn();
  ops.reset();
  is_stopped = false;
  maps->stop([] {});
  turn();
  maps = make_maps(maps->map());
  make_service();
  ops->start(*ledger);
  RecordingConnection& a = connect();
  write(a, 1);
  EXPECT_EQ(replies(a), (Replies{{1, OsdErrc::kStaleMap}}));
}

TEST_F(OpServiceTest, WithoutRoomAnOpIsToldToComeAgainAndNotInsideTheCall) {
  options.executor.max_executing = 1;
  options.executor.max_waiting = 1;
  RecordingConnection& a = serve_and_hold_a_write();
  write(a, 3);
  a.sent.clear();
  send(a, header(4, OpCode::kWrite));
  EXPECT_TRUE(replies(a).empty());
  turn();
  EXPECT_EQ(replies(a), (Replies{{4, OsdErrc::kBusy}}));
  store->release(Call::kWrite);
  turn();
  EXPECT_EQ(replies(a).size(), 3u);
}

TEST_F(OpServiceTest, AnOpThatIsRefusedIsUnderWayNoMore) {
  serve();
  RecordingConnection& a = connect();
  OsdOpHeader op = header(1, OpCode::kRead);
  op.pg.pool = 99;
  send(a, op);
  turn();
  EXPECT_EQ(replies(a), (Replies{{1, OsdErrc::kNoSuchPool}}));
  EXPECT_EQ(under_way(), 0u);
  EXPECT_EQ(counted("op_error"), 1u);
}

TEST_F(OpServiceTest, AnOpThatIsTakenBackIsUnderWayNoMore) {
  options.executor.max_executing = 1;
  RecordingConnection& a = serve_and_hold_a_write();
  write(a, 3);
  EXPECT_EQ(under_way(), 2u);
  const uint64_t ended = counted("op");
  cancel(a, 3);
  EXPECT_EQ(cancellations(a), 1u);
  EXPECT_EQ(under_way(), 1u);
  EXPECT_EQ(counted("op"), ended + 1);
}

// --- PGs that move ---

// Both servers are in RADOS.
class RadosOpServiceTest : public OpServiceTest {
 protected:
  RadosOpServiceTest() { pool_words = R"(, "store": "rados", "rados_pool": "p")"; }
  std::unique_ptr<ObjectStore> store_of(OsdId id, std::unique_ptr<ObjectStore> in_memory) override {
    return std::make_unique<RadosLikeStore>(std::move(in_memory), "client/" + std::to_string(id),
                                            std::make_shared<FakeBlocklist>());
  }
};

TEST_F(RadosOpServiceTest, WhoDoesNotKnowThatPgsMoveIsRefusedWhereItIsWrong) {
  serve();
  RecordingConnection& a = connect("client.old");
  send(a, misplaced(1));
  EXPECT_EQ(replies(a), (Replies{{1, OsdErrc::kIncompatible}}));
}

TEST_F(RadosOpServiceTest, WhoMayOnlyLackTheMapIsToldSo) {
  serve();
  RecordingConnection& a = connect("client.old");
  OsdOpHeader op = misplaced(1);
  --op.epoch;
  send(a, op);
  EXPECT_EQ(replies(a), (Replies{{1, OsdErrc::kStaleMap}}));
}

TEST_F(RadosOpServiceTest, WhoDoesNotKnowThatPgsMoveIsServedWhereItIsRight) {
  serve();
  RecordingConnection& a = connect("client.old");
  write(a, 1);
  EXPECT_EQ(replies(a), (Replies{{1, OsdErrc::kOk}}));
}

TEST_F(RadosOpServiceTest, WhoFollowsMovesLooksForItsServerAgain) {
  serve();
  RecordingConnection& a = connect("client.new", 1, true);
  send(a, misplaced(1));
  EXPECT_EQ(replies(a), (Replies{{1, OsdErrc::kStaleMap}}));
}

TEST_F(OpServiceTest, OfAPoolThatDoesNotMoveNobodyHasToKnowThatOthersDo) {
  serve();
  RecordingConnection& a = connect("client.old");
  send(a, misplaced(1));
  EXPECT_EQ(replies(a), (Replies{{1, OsdErrc::kStaleMap}}));
}

// Others are about to have its PGs.
TEST_F(RadosOpServiceTest, AStopSendsWhatComesToTheHeirs) {
  serve();
  RecordingConnection& a = connect();
  stop();
  write(a, 1);
  EXPECT_EQ(replies(a), (Replies{{1, OsdErrc::kStaleMap}}));
}

// --- connections ---

TEST_F(OpServiceTest, TheResetOfAConnectionThatIsNotKnownChangesNothing) {
  serve();
  RecordingConnection& a = connect();
  RecordingConnection never(*center, {"client.a", "host", 1});
  ops->on_reset(never);
  write(a, 1);
  EXPECT_EQ(replies(a), (Replies{{1, OsdErrc::kOk}}));
  ops->on_reset(a);
  ops->on_reset(a);
}

TEST_F(OpServiceTest, ARevocationIsOverWhenNothingExecutesAnyMore) {
  serve_and_hold_a_write();
  bool is_over = false;
  ops->revoke("client.a", [&] { is_over = true; });
  turn();
  EXPECT_FALSE(is_over);
  store->release(Call::kWrite);
  turn();
  EXPECT_TRUE(is_over);
}

// --- the tick ---

TEST_F(OpServiceTest, ATickForgetsClientsThatDidNotComeBack) {
  options.sessions.timeout = seconds(60);
  serve();
  RecordingConnection& a = connect();
  write(a, 1);
  ops->on_reset(a);
  ops->tick(monotonic_now() + seconds(59));
  EXPECT_EQ(ops->sessions().size(), 1u);
  ops->tick(monotonic_now() + seconds(61));
  EXPECT_EQ(ops->sessions().size(), 0u);
}

TEST_F(OpServiceTest, ATickNamesSlowOpsInTheLog) {
  options.tracking.complaint_time = seconds(2);
  serve_and_hold_a_write("client.slow");
  const auto is_named = [] {
    for (const std::string& line : log_recent())
      if (line.find("slow: osd_op(client.slow/host tid 2 ") != std::string::npos) return true;
    return false;
  };
  ops->tick(monotonic_now() + seconds(1));
  EXPECT_FALSE(is_named());
  ops->tick(monotonic_now() + seconds(2));
  EXPECT_TRUE(is_named());
}

// --- removals ---

TEST_F(OpServiceTest, ARemovalHasItsTurnAfterTheOpsThatCameBefore) {
  serve_and_hold_a_write();
  const ObjectId id{pool.id, objects[0]};
  int removed = 0;
  ops->remove_object(id, [&] { ++removed; });
  turn();
  EXPECT_EQ(removed, 0);
  EXPECT_EQ(store->calls(Call::kRemove), 0u);
  store->release(Call::kWrite);
  turn();
  EXPECT_EQ(removed, 1);
  EXPECT_EQ(store->calls(Call::kRemove), 1u);
}

TEST_F(OpServiceTest, ARemovalOfWhatIsNotThereEndsLaterAndOnce) {
  serve();
  int removed = 0;
  ops->remove_object({pool.id, "none"}, [&] { ++removed; });
  EXPECT_EQ(removed, 0);
  turn();
  EXPECT_EQ(removed, 1);
}

// --- the end ---

TEST_F(OpServiceTest, AStopAnswersWhatWaitsAndWhatComesAndNotWhatExecutes) {
  options.executor.max_executing = 1;
  RecordingConnection& a = serve_and_hold_a_write();
  write(a, 3);
  a.sent.clear();
  stop();
  write(a, 4);
  write_early(a, 5);  // does not wait for its map
  EXPECT_EQ(replies(a),
            (Replies{{3, OsdErrc::kShutdown}, {4, OsdErrc::kShutdown}, {5, OsdErrc::kShutdown}}));
  store->release(Call::kWrite);
  turn();
  EXPECT_EQ(replies(a).back(), (Replies::value_type{2, OsdErrc::kOk}));
}

// That it was not executed would be a lie.
TEST_F(OpServiceTest, AResendOfWhatWasExecutedIsAnsweredFromMemoryAlsoAfterAStop) {
  serve();
  RecordingConnection& a = connect();
  write(a, 1);
  stop();
  a.sent.clear();
  write(a, 1);
  EXPECT_EQ(replies(a), (Replies{{1, OsdErrc::kOk}}));
  EXPECT_EQ(writes(), 1u);
}

TEST_F(OpServiceTest, ADrainEndsWhenNothingExecutesAnyMore) {
  serve_and_hold_a_write();
  stop();
  bool is_drained = false;
  ops->drain([&] { is_drained = true; });
  turn();
  EXPECT_FALSE(is_drained);
  store->release(Call::kWrite);
  turn();
  EXPECT_TRUE(is_drained);
}

TEST_F(OpServiceTest, WhatWasNeverStartedDrainsAtOnce) {
  make_service();
  stop();
  bool is_drained = false;
  ops->drain([&] { is_drained = true; });
  EXPECT_TRUE(is_drained);
}

}  // namespace
}  // namespace lunar::osd
