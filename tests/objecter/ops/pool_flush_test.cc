// SPDX-License-Identifier: LGPL-2.1-or-later
#include <nlohmann/json.hpp>

#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

class PoolFlushTest : public ObjecterFixture {
 protected:
  void SetUp() override {
    options.op_timeout = 5s;
    start(3);
  }
  Tid flush(ImageId image = 77, Objecter::LossHearer hearer = Objecter::LossHearer::kInitiator) {
    error.reset();
    return objecter->flush(1, image, 0x1d, hearer, [this](std::error_code result) {
      EXPECT_FALSE(error) << "done runs once";
      error = result;
    });
  }
  void write(OsdId id, uint16_t step_flags = 0) {
    ObjectOp op = write_op(object_on(id), data);
    op.steps[0].flags = step_flags;
    Ended ended;
    submit(std::move(op), ended);
    settle();
    osd(id).reply_next();
    settle();
    ASSERT_TRUE(ended.is_done);
  }
  void put_pool_in_rados() {
    OsdMap next = map;
    ++next.epoch;
    next.pools[0].store = StoreKind::kRados;
    next.pools[0].rados_pool = next.pools[0].rados_namespace = "rbd";
    set_map(std::move(next));
    settle();
  }
  // Images of which a server has acknowledged what no FLUSH has covered, over all servers.
  uint64_t unflushed_images() const {
    uint64_t images = 0;
    const auto shown = nlohmann::json::parse(objecter->sessions_json());
    for (const auto& session : shown.at("sessions"))
      images += session.at("unflushed_images").get<uint64_t>();
    return images;
  }
  void answer_all() {
    for (auto& server : servers) {
      while (!server->ops.empty()) server->reply_next();
    }
    settle();
  }
  // The first op of this server, a FLUSH, is told of a loss.
  void lose(OsdId id, uint64_t loss) {
    const auto received = osd(id).ops.front();
    osd(id).ops.pop_front();
    OsdReplyHeader header = osd(id).ok(received);
    header.error = header.steps.front().error = OsdErrc::kLostWrites;
    header.steps.front().value = loss;
    osd(id).reply(received, header);
    settle();
  }
  std::vector<std::byte> data = pattern(64);
  std::optional<std::error_code> error;
};

TEST_F(PoolFlushTest, GoesToEveryServerOfThePool) {
  flush();
  settle();
  for (auto& server : servers) {
    ASSERT_EQ(server->ops.size(), 1u);
    EXPECT_EQ(server->ops[0].op.steps[0].code, OpCode::kFlush);
    EXPECT_EQ(server->ops[0].op.image, 77u);
    EXPECT_EQ(server->ops[0].op.pg.pool, 1u);
    EXPECT_EQ(server->ops[0].trace_id, 0x1du);
  }
  osd(0).reply_next();
  osd(2).reply_next();
  settle();
  EXPECT_FALSE(error);
  osd(1).reply_next();
  settle();
  ASSERT_TRUE(error);
  EXPECT_FALSE(*error);
  EXPECT_EQ(counter("op_flush"), 3u);
}

TEST_F(PoolFlushTest, FirstErrorIsToldWhenAllHaveAnswered) {
  flush();
  settle();
  osd(1).reply_next(OsdErrc::kIoError);
  settle();
  EXPECT_FALSE(error);
  osd(0).reply_next();
  osd(2).reply_next(OsdErrc::kNoSpace);
  settle();
  EXPECT_EQ(error, make_error_code(OsdErrc::kIoError));
}

TEST_F(PoolFlushTest, LostWritesAreNotHiddenByAnotherError) {
  flush();
  settle();
  osd(1).reply_next(OsdErrc::kIoError);
  osd(0).reply_next(OsdErrc::kLostWrites);
  osd(2).reply_next();
  settle();
  EXPECT_EQ(error, make_error_code(OsdErrc::kLostWrites));
}

TEST_F(PoolFlushTest, LostWritesDoNotHideAFenceAndAreToldByTheNext) {
  flush();
  settle();
  lose(0, 4711);
  osd(1).reply_next(OsdErrc::kFenced);
  answer_all();
  EXPECT_EQ(error, make_error_code(OsdErrc::kFenced));
  flush();
  settle();
  EXPECT_EQ(osd(0).ops[0].op.steps[0].version.incarnation, 0u) << "nobody has heard of it";
  answer_all();
  EXPECT_EQ(error, make_error_code(OsdErrc::kLostWrites));
}

TEST_F(PoolFlushTest, ServerThatIsDownMakesItWaitUntilTheTimeout) {
  OsdMap next = map;
  next.epoch = 6;
  next.osds[2].up = false;
  set_map(next);
  settle();
  flush();
  settle();
  osd(0).reply_next();
  osd(1).reply_next();
  pass(4900ms);
  EXPECT_FALSE(error);
  pass(200ms);
  EXPECT_EQ(error, make_error_code(OsdErrc::kTimedOut));
  flush();
  pass(1s);
  next.epoch = 7;
  next.osds[2].up = true;
  set_map(next);
  settle();
  answer_all();
  ASSERT_TRUE(error);
  EXPECT_FALSE(*error);
}

TEST_F(PoolFlushTest, PassesWritesThatAreStuck) {
  shut_down();
  options.max_in_flight_ops = 1;
  make_objecter();
  settle();
  Ended ended[2];
  for (Ended& each : ended) submit(write_op(object_on(0), data), each);
  flush();
  settle();
  EXPECT_EQ(osd(0).ops.size(), 2u) << "one write and the flush";
  EXPECT_EQ(osd(1).ops.size(), 1u);
}

TEST_F(PoolFlushTest, CancelEndsTheFlushOfEveryServer) {
  const Tid tid = flush();
  settle();
  osd(0).reply_next();
  settle();
  objecter->cancel(tid);
  settle();
  EXPECT_EQ(error, make_error_code(OsdErrc::kCancelled));
  EXPECT_EQ(osd(1).cancels.size(), 1u);
  EXPECT_EQ(osd(2).cancels.size(), 1u);
  EXPECT_TRUE(osd(0).cancels.empty());
}

TEST_F(PoolFlushTest, IsSentAgainAfterARestart) {
  flush();
  settle();
  osd(0).reply_next();
  osd(2).reply_next();
  restart(1);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops[0].op.attempt, 2u);
  osd(1).reply_next();
  settle();
  ASSERT_TRUE(error);
  EXPECT_FALSE(*error);
}

TEST_F(PoolFlushTest, NewVerifierSinceAWriteFailsTheNextFlushOnce) {
  write(1);
  restart(1);
  osd(1).hello.verifier = 2;
  flush();
  settle();
  answer_all();
  EXPECT_EQ(error, make_error_code(OsdErrc::kLostWrites));
  EXPECT_EQ(counter("lost_writes"), 1u);
  flush();
  settle();
  answer_all();
  ASSERT_TRUE(error);
  EXPECT_FALSE(*error);
}

TEST_F(PoolFlushTest, RestartThatKeptEverythingIsWell) {
  write(1);
  restart(1);  // a new process, the same verifier
  flush();
  settle();
  answer_all();
  ASSERT_TRUE(error);
  EXPECT_FALSE(*error);
}

TEST_F(PoolFlushTest, NamesTheLossThatItsCallerHasHeardOfInTheNext) {
  flush();
  settle();
  EXPECT_EQ(osd(1).ops[0].op.steps[0].version.incarnation, 0u);
  lose(1, 4711);
  answer_all();
  EXPECT_EQ(error, make_error_code(OsdErrc::kLostWrites));
  flush();
  settle();
  EXPECT_EQ(osd(0).ops[0].op.steps[0].version.incarnation, 0u);
  EXPECT_EQ(osd(1).ops[0].op.steps[0].version.incarnation, 4711u);
  answer_all();
  ASSERT_TRUE(error);
  EXPECT_FALSE(*error);
}

TEST_F(PoolFlushTest, AFlushThatBeganBeforeAWriteEndedDoesNotCountAsHeard) {
  const auto writes = objecter->writes_of(77);
  ImageWrites::Write in_flight;
  writes->begin(in_flight);
  flush();
  settle();
  lose(1, 4711);
  answer_all();
  ASSERT_EQ(error, make_error_code(OsdErrc::kLostWrites));
  writes->end(in_flight);
  flush();
  settle();
  EXPECT_EQ(osd(1).ops[0].op.steps[0].version.incarnation, 0u) << "the initiator has not heard";
  lose(1, 4711);
  answer_all();
  EXPECT_EQ(error, make_error_code(OsdErrc::kLostWrites));
  flush();
  settle();
  EXPECT_EQ(osd(1).ops[0].op.steps[0].version.incarnation, 4711u);
  answer_all();
  EXPECT_FALSE(*error);
}

TEST_F(PoolFlushTest, WritesOfAnotherImageDoNotMatterToALoss) {
  const auto writes = objecter->writes_of(78);
  ImageWrites::Write in_flight;
  writes->begin(in_flight);
  flush(77);
  settle();
  lose(1, 4711);
  answer_all();
  flush(77);
  settle();
  EXPECT_EQ(osd(1).ops[0].op.steps[0].version.incarnation, 4711u);
  answer_all();
  writes->end(in_flight);
}

TEST_F(PoolFlushTest, DoesNotSayThatALossWasHeardWhoseFlushHadTimedOut) {
  flush();
  settle();
  const auto late = osd(1).ops.front();
  osd(0).reply_next();
  osd(2).reply_next();
  pass(6s);
  ASSERT_EQ(error, make_error_code(OsdErrc::kTimedOut));
  OsdReplyHeader header = osd(1).ok(late);
  header.error = header.steps.front().error = OsdErrc::kLostWrites;
  header.steps.front().value = 4711;
  osd(1).reply(late, header);
  settle();
  flush();
  settle();
  ASSERT_FALSE(osd(1).ops.empty());
  EXPECT_EQ(osd(1).ops.back().op.steps[0].version.incarnation, 0u);
}

TEST_F(PoolFlushTest, WhatCouldNotBeToldIsSaidByTheNext) {
  flush();
  settle();
  lose(1, 4711);
  answer_all();
  ASSERT_EQ(error, make_error_code(OsdErrc::kLostWrites));
  objecter->on_loss_unheard(77);
  flush();
  settle();
  EXPECT_EQ(osd(1).ops[0].op.steps[0].version.incarnation, 0u);
  answer_all();
  EXPECT_EQ(error, make_error_code(OsdErrc::kLostWrites)) << "whatever the server says";
  flush();
  settle();
  EXPECT_EQ(osd(1).ops[0].op.steps[0].version.incarnation, 4711u);
  answer_all();
  EXPECT_FALSE(*error);
}

TEST_F(PoolFlushTest, NobodyHearsOfALossByAFlushForNobody) {
  for (int round = 0; round < 2; ++round) {
    flush(77, Objecter::LossHearer::kNobody);
    settle();
    EXPECT_EQ(osd(1).ops[0].op.steps[0].version.incarnation, 0u) << round;
    lose(1, 4711);
    answer_all();
    EXPECT_EQ(error, make_error_code(OsdErrc::kLostWrites)) << round;
  }
  flush();
  settle();
  EXPECT_EQ(osd(1).ops[0].op.steps[0].version.incarnation, 0u);
  lose(1, 4711);
  answer_all();
  EXPECT_EQ(error, make_error_code(OsdErrc::kLostWrites));
}

TEST_F(PoolFlushTest, ForNobodyALossHidesNoOtherError) {
  flush(77, Objecter::LossHearer::kNobody);
  settle();
  lose(1, 4711);
  osd(2).reply_next(OsdErrc::kNotPermitted);
  answer_all();
  EXPECT_EQ(error, make_error_code(OsdErrc::kNotPermitted));
}

TEST_F(PoolFlushTest, ALossIsCountedOnce) {
  const auto writes = objecter->writes_of(77);
  for (int round = 0; round < 2; ++round) {
    flush(77, Objecter::LossHearer::kNobody);
    settle();
    lose(1, 4711);
    answer_all();
    EXPECT_EQ(writes->losses(), 1u);
  }
  flush(77, Objecter::LossHearer::kNobody);
  settle();
  lose(1, 4712);
  answer_all();
  EXPECT_EQ(writes->losses(), 2u);
}

TEST_F(PoolFlushTest, ALossNoticedHereIsSaidAgainToo) {
  write(1);
  restart(1);
  osd(1).hello.verifier = 2;
  flush();
  settle();
  answer_all();
  ASSERT_EQ(error, make_error_code(OsdErrc::kLostWrites));
  objecter->on_loss_unheard(77);
  flush();
  settle();
  answer_all();
  EXPECT_EQ(error, make_error_code(OsdErrc::kLostWrites));
}

TEST_F(PoolFlushTest, AnotherImagesFlushDoesNotTakeTheReport) {
  write(1);
  osd(1).hello.verifier = 2;
  flush(78);
  settle();
  answer_all();
  ASSERT_TRUE(error);
  EXPECT_FALSE(*error);
  flush(77);
  settle();
  answer_all();
  EXPECT_EQ(error, make_error_code(OsdErrc::kLostWrites));
}

TEST_F(PoolFlushTest, DurableWritesAreNotWatched) {
  write(1, kFua);
  osd(1).hello.verifier = 2;
  flush();
  settle();
  answer_all();
  ASSERT_TRUE(error);
  EXPECT_FALSE(*error);
}

TEST_F(PoolFlushTest, FlushedWritesAreNotWatched) {
  write(1);
  flush();
  settle();
  answer_all();
  osd(1).hello.verifier = 2;
  flush();
  settle();
  answer_all();
  ASSERT_TRUE(error);
  EXPECT_FALSE(*error);
}

TEST_F(PoolFlushTest, UnknownPoolEndsIt) {
  objecter->flush(9, 1, 0, Objecter::LossHearer::kInitiator,
                  [this](std::error_code result) { error = result; });
  settle();
  EXPECT_EQ(error, make_error_code(OsdErrc::kNoSuchPool));
}

TEST_F(PoolFlushTest, MemberWithoutWeightIsLeftOut) {
  OsdMap next = map;
  next.epoch = 6;
  next.pools[0].members[2].weight = 0;
  set_map(next);
  settle();
  flush();
  settle();
  EXPECT_TRUE(osd(2).ops.empty());
  answer_all();
  ASSERT_TRUE(error);
}

TEST_F(PoolFlushTest, ListPagesThroughOnePg) {
  const PgId pg{1, 3};
  std::optional<Result<std::vector<std::string>>> page;
  const auto list = [&](std::string cursor) {
    page.reset();
    objecter->list(pg, ListScope::kPg, std::move(cursor), 2,
                   [&](auto names) { page = std::move(names); });
    settle();
  };
  const OsdId owner = osd_of_pg(map.pools[0], pg);
  const auto answer = [&](const std::vector<std::string>& names) {
    std::vector<std::byte> bytes;
    encode(names, bytes);
    osd(owner).reply_next(OsdErrc::kOk, bytes);
    settle();
  };
  list("");
  ASSERT_EQ(osd(owner).ops.size(), 1u);
  EXPECT_EQ(osd(owner).ops[0].op.pg, pg);
  EXPECT_EQ(osd(owner).ops[0].op.steps[0].length, 2u);
  answer({"a", "b"});
  ASSERT_TRUE(page && *page);
  EXPECT_EQ(page->value(), (std::vector<std::string>{"a", "b"}));
  list("b");
  EXPECT_EQ(osd(owner).ops[0].op.steps[0].name, "b");
  answer({});
  ASSERT_TRUE(page && *page);
  EXPECT_TRUE(page->value().empty());
  list("b");
  answer({"c", "d", "e"});
  EXPECT_EQ(page->error(), make_error_code(OsdErrc::kInvalid)) << "more than was asked for";
  list("bad/cursor");
  EXPECT_EQ(page->error(), make_error_code(OsdErrc::kInvalid));
  objecter->list({1, 64}, ListScope::kPg, "", 2, [&](auto names) { page = std::move(names); });
  settle();
  EXPECT_EQ(page->error(), make_error_code(OsdErrc::kInvalid)) << "the pool has 64 PGs";
}

// What RADOS has acknowledged is durable; a server that is down must not hold the FLUSH up.
TEST_F(PoolFlushTest, OfAPoolInRadosGoesNowhere) {
  put_pool_in_rados();
  flush();
  settle();
  EXPECT_EQ(error, std::error_code());
  for (auto& server : servers) EXPECT_TRUE(server->ops.empty());
}

// No FLUSH would ever cover it.
TEST_F(PoolFlushTest, AWriteOfAPoolInRadosIsNotUnflushed) {
  write(1);
  EXPECT_EQ(unflushed_images(), 1u);
  flush();
  settle();
  answer_all();
  EXPECT_EQ(unflushed_images(), 0u);
  put_pool_in_rados();
  write(1);
  EXPECT_EQ(unflushed_images(), 0u);
}

}  // namespace
}  // namespace lunar::objecter
