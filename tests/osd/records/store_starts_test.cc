// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/store_starts.h"

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

class StoreStartsTest : public StoreFixture {
 protected:
  std::unique_ptr<StoreStarts> start(uint64_t accepted = 0) {
    auto map = std::make_shared<objecter::OsdMap>();
    objecter::OsdInfo& us = map->osds.emplace_back();
    us.id = identity.osd;
    us.store = identity.store;
    us.incarnation = accepted;
    auto starts = StoreStarts::load(*store, identity, accepted == 0 ? nullptr : map);
    EXPECT_TRUE(starts);
    return std::move(*starts);
  }
  void record(StoreStarts& starts) {
    bool is_done = false;
    starts.record([&](std::error_code error) { is_done = !error; });
    turn();
    EXPECT_TRUE(is_done);
  }
  uint64_t start_and_record(uint64_t accepted = 0) {
    const auto starts = start(accepted);
    record(*starts);
    return starts->incarnation();
  }
  const StoreIdentity identity{Uuid::random(), Uuid::random(), 1};
};

TEST_F(StoreStartsTest, EachRecordedStartIsGreaterThanTheOneBefore) {
  const uint64_t first = start_and_record();
  const uint64_t second = start_and_record();
  EXPECT_NE(first, 0u);
  EXPECT_GT(second, first);
  EXPECT_EQ(start()->previous(), (std::vector<uint64_t>{first, second}));
}

TEST_F(StoreStartsTest, TwoStartsOnCopiesOfOneStoreDiffer) {
  start_and_record();
  EXPECT_NE(start()->incarnation(), start()->incarnation());
}

TEST_F(StoreStartsTest, WhatCameBeforeTheAcceptedStartIsForgotten) {
  start_and_record();
  const uint64_t accepted = start_and_record();
  const uint64_t maybe = start_and_record();
  EXPECT_EQ(start(accepted)->previous(), (std::vector<uint64_t>{accepted, maybe}));
}

TEST_F(StoreStartsTest, TheAcceptedStartIsKeptHoweverManyFollow) {
  const uint64_t accepted = start_and_record();
  uint64_t last = 0;
  for (std::size_t i = 0; i < StoreStarts::kMaxPrevious + 9; ++i) last = start_and_record(accepted);
  const auto starts = start(accepted);
  EXPECT_EQ(starts->previous().size(), StoreStarts::kMaxPrevious);
  EXPECT_EQ(starts->previous().front(), accepted);
  EXPECT_EQ(starts->previous().back(), last);
  EXPECT_GT(starts->incarnation(), last);
}

TEST_F(StoreStartsTest, ADamagedRecordIsRefusedWithASentence) {
  store->put_record("starts", {std::byte{1}}, [](std::error_code) {});
  turn();
  const auto starts = StoreStarts::load(*store, identity, nullptr);
  ASSERT_FALSE(starts);
  EXPECT_NE(starts.error().message.find("record starts"), std::string::npos);
}

}  // namespace
}  // namespace lunar::osd
