// SPDX-License-Identifier: LGPL-2.1-or-later
// What waits in a server holds nothing that ends the wait: docs/durability.md, "Waits".
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "msgr/errors.h"
#include "objecter/protocol/placement.h"
#include "osd/server/osd_server.h"
#include "tests/osd/server/server_fixture.h"
#include "tests/support/counter_in.h"

namespace lunar::osd {
namespace {

using objecter::MessageType;
using objecter::OsdOpHeader;

constexpr std::size_t kLarge = 100'000;  // bytes; control frames are smaller

struct LinkBreaker final : msgr::LoopbackInjector {
  Verdict on_connect(const msgr::Address&) override {
    Verdict verdict;
    if (refuses) verdict.fail = std::make_error_code(std::errc::connection_refused);
    return verdict;
  }
  Verdict on_send(const msgr::Address&, std::size_t bytes) override {
    Verdict verdict;
    if (bytes < kLarge) return verdict;
    if (cuts) {
      cuts = false;
      verdict.limit = kLarge / 2;
      verdict.fail = make_error_code(msgr::MsgrErrc::kInjected);
    } else if (stalls) {
      verdict.delay = std::chrono::hours(1);
    }
    return verdict;
  }
  bool refuses = false;
  bool cuts = false;    // the next large send breaks its link
  bool stalls = false;  // large sends take an hour
};

// Owned by a base, so that it is made before the stack.
struct WithLinkBreaker {
  LinkBreaker links;
  msgr::LoopbackOptions network() {
    msgr::LoopbackOptions options;
    options.injector = &links;
    return options;
  }
};

class OsdServerWaitsTest : private WithLinkBreaker, public ServerFixture {
 protected:
  OsdServerWaitsTest() : ServerFixture(network()) {}
  using WithLinkBreaker::links;

  // The name of an object on this server.
  std::string object_on(OsdId osd) {
    const objecter::PoolInfo& pool = client->map()->pools.at(0);
    for (int i = 0;; ++i) {
      std::string name = "obj" + std::to_string(i);
      if (objecter::osd_of_pg(pool, objecter::pg_of_object(pool, name)) == osd) return name;
    }
  }
  // A WRITE under the map after the present one.
  void post_early_write(RawClient& raw, const std::string& object, Tid tid,
                        const std::string& data) {
    OsdOpHeader op;
    op.tid = op.oldest_tid = tid;
    op.epoch = client->map()->epoch + 1;
    op.object = object;
    op.pg = objecter::pg_of_object(client->map()->pools.at(0), object);
    op.steps.resize(1);
    op.steps[0].code = OpCode::kWrite;
    op.steps[0].length = data.size();
    op.steps[0].data_length = static_cast<uint32_t>(data.size());
    std::vector<std::byte> front;
    objecter::encode(op, front);
    raw.post(MessageType::kOsdOp, std::move(front), tid, data);
  }
  uint64_t counter(OsdId osd, const std::string& name) {
    const auto value = test::counter_in(osds[osd].perf->dump(), name);
    EXPECT_TRUE(value) << name;
    return value.value_or(0);
  }
};

TEST_F(OsdServerWaitsTest, AMapArrivesAlthoughOpsThatWaitForItFillTheThrottle) {
  throttle_bytes = 100'000;
  start(0);
  start(1);
  connect_client();
  make_pool();
  RawClient raw(*center, stack, osds[1].address);
  const std::string object = object_on(1);
  for (Tid tid = 1; tid <= 5; ++tid) post_early_write(raw, object, tid, std::string(60'000, 'x'));
  turn();
  EXPECT_EQ(raw.count(MessageType::kOsdOpReply), 0u);
  make_pool("second");  // the map that they wait for
  EXPECT_TRUE(until([&] { return raw.count(MessageType::kOsdOpReply) == 5; }));
  EXPECT_EQ(raw.last_reply().error, OsdErrc::kOk);
}

TEST_F(OsdServerWaitsTest, AnOpThatWaitsForAMapTooLongIsAnswered) {
  options.limits.max_hold = std::chrono::milliseconds(1);
  start(0);
  start(1);
  connect_client();
  make_pool();
  RawClient raw(*center, stack, osds[1].address);
  post_early_write(raw, object_on(1), 1, "x");
  ASSERT_TRUE(until([&] { return raw.count(MessageType::kOsdOpReply) == 1; }));
  EXPECT_EQ(raw.last_reply().error, OsdErrc::kStaleMap) << "not executed: it may come again";
}

TEST_F(OsdServerWaitsTest, AnOpThatWasExecutedIsNotRefusedWhenItComesAgain) {
  start(0);
  start(1);
  connect_client();
  make_pool();
  RawClient raw(*center, stack, osds[1].address);
  const std::string object = object_on(1);
  post_early_write(raw, object, 1, "x");
  make_pool("second");
  ASSERT_EQ(raw.last_reply().error, OsdErrc::kOk);
  OsdOpHeader again;
  again.tid = again.oldest_tid = 1;
  again.attempt = 2;
  again.epoch = client->map()->epoch + 9;  // nobody has that map
  again.object = object;
  again.pg = objecter::pg_of_object(client->map()->pools.at(0), object);
  again.steps.resize(1);
  again.steps[0].code = OpCode::kWrite;
  again.steps[0].length = again.steps[0].data_length = 1;
  std::vector<std::byte> front;
  objecter::encode(again, front);
  raw.send(MessageType::kOsdOp, std::move(front), 1, "x");
  EXPECT_EQ(raw.last_reply().attempt, 2u);
  EXPECT_EQ(raw.last_reply().error, OsdErrc::kOk);
}

TEST_F(OsdServerWaitsTest, RepliesOfAClientWithoutALinkHoldNoBuffers) {
  start(0);
  connect_client();
  make_pool();
  const std::string data(1 << 20, 'd');
  ASSERT_FALSE(write("a", data));
  links.cuts = links.refuses = true;
  const auto answer = submit("a", OpCode::kRead, 0, data.size());
  ASSERT_TRUE(until([&] { return !links.cuts; }));
  turn();
  EXPECT_EQ(stack.buffers().bytes_in_use(), 0u);
  EXPECT_EQ(answer->error, OsdErrc::kBusy) << "it waits";
  links.refuses = false;
  ASSERT_TRUE(until([&] { return answer->error != OsdErrc::kBusy; }));
  EXPECT_FALSE(answer->error) << answer->error.message();
  EXPECT_EQ(answer->data, data);
  EXPECT_EQ(counter(0, "op_r_again"), 1u);
}

TEST_F(OsdServerWaitsTest, RepliesThatAClientDoesNotTakeHoldFewBuffers) {
  options.limits.reply_patience = std::chrono::milliseconds(1);
  start(0);
  connect_client();
  make_pool();
  const std::string data(1 << 20, 'd');
  ASSERT_FALSE(write("a", data));
  links.stalls = true;
  std::vector<std::shared_ptr<Answer>> answers;
  for (int i = 0; i < 20; ++i) answers.push_back(submit("a", OpCode::kRead, 0, data.size()));
  turn();
  EXPECT_GE(stack.buffers().bytes_in_use(), 19u << 20);
  EXPECT_TRUE(until([&] { return stack.buffers().bytes_in_use() <= 2u << 20; }))
      << "but for the one on the link";
  // The client comes to itself by a new link.
  links.stalls = false;
  links.cuts = true;
  const auto more = submit("b", OpCode::kWrite, 0, data.size(), data);
  answers.push_back(more);
  ASSERT_TRUE(until([&] {
    return std::all_of(answers.begin(), answers.end(),
                       [](const auto& each) { return each->error != OsdErrc::kBusy; });
  }));
  answers.pop_back();
  for (const auto& each : answers) {
    EXPECT_FALSE(each->error) << each->error.message();
    EXPECT_EQ(each->data, data);
  }
}

}  // namespace
}  // namespace lunar::osd
