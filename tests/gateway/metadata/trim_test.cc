// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/trim.h"

#include "gateway/metadata/pool_objects.h"
#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

class TrimTest : public MetadataFixture {
 protected:
  // 200 objects of 4 KiB: several windows full.
  static constexpr uint64_t kObjectBytes = 4 * kKiB;
  static constexpr uint64_t kImageBytes = 200 * kObjectBytes;

  void SetUp() override {
    create_and_open(kImageBytes, {kObjectBytes, kObjectBytes, 1});
    ASSERT_FALSE(write(0, std::string(kImageBytes, 'x')));
    const auto found = wait<VersionedHeader>([&](auto done) {
      find_image(*gateway, {"lunar", "disk"}, std::move(done));
    });
    ASSERT_TRUE(found);
    header_ = found->header;
    pool_ = *gateway->find_pool("lunar");
  }
  void TearDown() override { EXPECT_TRUE(close(image)); }

  std::error_code trim(uint64_t from, uint64_t to, OnProgress on_progress = {}) {
    std::optional<std::error_code> result;
    run_to_done<std::error_code>(
        *center, trim_image(*gateway, pool_, header_, from, to, std::move(on_progress)),
        [&result](std::error_code error) { result = error; });
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return result.value_or(make_error_code(objecter::OsdErrc::kTimedOut));
  }

  std::vector<std::string> names_with(const std::string& prefix) {
    std::optional<PoolObjects> found;
    run_to_done<PoolObjects>(*center, list_objects(*gateway, pool_, prefix),
                             [&](PoolObjects objects) { found = std::move(objects); });
    EXPECT_TRUE(until([&] { return found.has_value(); }));
    return found ? found->names : std::vector<std::string>();
  }
  void put(const std::string& name) {
    objecter::ObjectOp op;
    op.object = {pool_.id, name};
    objecter::SubOp step;
    step.code = objecter::OpCode::kWrite;
    step.length = step.data_length = 1;
    op.steps = {step};
    op.data.push_back(as_const_bytes("x"));
    std::optional<std::error_code> result;
    gateway->objecter().submit(std::move(op),
                               [&](const objecter::OpReply& reply) { result = reply.error; });
    ASSERT_TRUE(until([&] { return result.has_value(); }));
    ASSERT_FALSE(*result) << result->message();
  }

  ImageHeader header_;
  objecter::PoolInfo pool_;
};

TEST_F(TrimTest, FreesFromTheMiddleOfAnObjectToTheEnd) {
  const uint64_t from = kObjectBytes + kKiB;
  ASSERT_FALSE(trim(from, kImageBytes));
  EXPECT_EQ(read(0, from), std::string(from, 'x'));
  EXPECT_EQ(read(from, kImageBytes - from), std::string(kImageBytes - from, '\0'));
}

TEST_F(TrimTest, TellsOfEveryWholeObject) {
  std::vector<uint64_t> told;
  ASSERT_FALSE(trim(0, kImageBytes, [&told](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 200u);
    told.push_back(done);
  }));
  ASSERT_EQ(told.size(), 200u);
  EXPECT_EQ(told.front(), 1u);
  EXPECT_EQ(told.back(), 200u);
}

// Of 4 PiB, an op for each object would take a day.
TEST_F(TrimTest, OfALargeRangeDeletesWhatThereIs) {
  uint64_t deletes = 0;
  const uint64_t from = kObjectBytes + kKiB;
  const uint64_t end = uint64_t{4} << 50;
  ASSERT_FALSE(trim(from, end, [&deletes](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 198u);
    deletes = done;
  }));
  EXPECT_EQ(deletes, 198u);
  EXPECT_EQ(read(0, from), std::string(from, 'x'));
  EXPECT_EQ(read(from, kImageBytes - from), std::string(kImageBytes - from, '\0'));
}

TEST_F(TrimTest, OfALargeRangeLeavesWhatIsNotInIt) {
  const ImageId disk = header_.id;
  const auto other = create("other", kImageBytes);
  ASSERT_TRUE(other);
  const uint64_t last = uint64_t{1} << 40;
  for (const std::string& object :
       {data_object_name(disk, last), data_object_name(disk, last - 1),
        data_object_name(other->id, 5), data_object_name(other->id, last - 1)}) {
    put(object);
  }
  ASSERT_FALSE(trim(0, last * kObjectBytes));
  EXPECT_EQ(names_with(image_id_text(disk)),
            (std::vector<std::string>{data_object_name(disk, last), header_object_name(disk)}));
  EXPECT_EQ(names_with(image_id_text(other->id)).size(), 3u);
}

TEST_F(TrimTest, OfALargeRangeInStripesZeroesItsFirstSetAndDeletesTheOthers) {
  header_.layout = {kObjectBytes, kKiB, 4};
  const uint64_t set_bytes = 4 * kObjectBytes;
  ASSERT_FALSE(trim(set_bytes + kKiB, uint64_t{4} << 50));
  EXPECT_EQ(names_with(image_id_text(header_.id)).size(), 8u + 1);
  EXPECT_EQ(read(0, set_bytes), std::string(set_bytes, 'x'));
  for (uint64_t object = 4; object < 8;
       ++object) {  // a unit of the set is kept, in its first object
    const std::string kept(object == 4 ? kKiB : 0, 'x');
    EXPECT_EQ(read(object * kObjectBytes, kObjectBytes),
              kept + std::string(kObjectBytes - kept.size(), '\0'));
  }
}

TEST_F(TrimTest, AServerThatIsAwayIsWaitedForBeforeItsObjectsAreKnown) {
  stop(1);
  ASSERT_TRUE(until([&] { return !gateway->objecter().map()->find_osd(1)->up; }));
  std::optional<std::error_code> result;
  run_to_done<std::error_code>(*center,
                               trim_image(*gateway, pool_, header_, 0, uint64_t{4} << 50, {}),
                               [&result](std::error_code error) { result = error; });
  start(1);
  ASSERT_TRUE(until([&] { return result.has_value(); }));
  EXPECT_FALSE(*result) << result->message();
  EXPECT_EQ(read(0, kImageBytes), std::string(kImageBytes, '\0'));
}

TEST_F(TrimTest, AServerThatStaysAwayFailsIt) {
  stop(1);
  ASSERT_TRUE(until([&] { return !gateway->objecter().map()->find_osd(1)->up; }));
  EXPECT_EQ(trim(0, uint64_t{4} << 50), objecter::OsdErrc::kUnreachable);
  start(1);
  ASSERT_TRUE(until([&] { return gateway->objecter().map()->find_osd(1)->up; }));
  // It may take some tries until the client connects again.
  std::size_t there = 0;
  for (int i = 0; i < 30 && there < 201; ++i) there = names_with(image_id_text(header_.id)).size();
  EXPECT_EQ(there, 201u) << "nothing was deleted";
}

// A server lost its power after the deletes and before the flush: what was freed is there again.
TEST_F(TrimTest, WhatAServerLostIsFreedAgain) {
  using Call = osd::FaultyStore::Call;
  osds[0].store->fail_next(Call::kFlush, make_error_code(std::errc::io_error));
  osds[1].store->hold(Call::kFlush);
  std::optional<std::error_code> result;
  run_to_done<std::error_code>(*center, trim_image(*gateway, pool_, header_, kKiB, kImageBytes, {}),
                               [&result](std::error_code error) { result = error; });
  ASSERT_TRUE(until([&] { return osds[1].store->held(Call::kFlush) != 0; }));
  ASSERT_FALSE(write(0, std::string(kImageBytes, 'x')));
  osds[1].store->release(Call::kFlush);
  ASSERT_TRUE(until([&] { return result.has_value(); }));
  EXPECT_FALSE(*result) << result->message();
  EXPECT_EQ(read(0, kKiB), std::string(kKiB, 'x'));
  EXPECT_EQ(read(kKiB, kImageBytes - kKiB), std::string(kImageBytes - kKiB, '\0'));
}

// A loss of earlier writes keeps no trim from its end, and is left for the initiator to hear of.
TEST_F(TrimTest, HearsOfNoLossThatIsForAnInitiator) {
  for (auto& [id, osd] : osds)
    osd.store->fail_next(osd::FaultyStore::Call::kFlush, make_error_code(std::errc::io_error));
  EXPECT_FALSE(trim(kKiB, kImageBytes));
  EXPECT_FALSE(trim(kKiB, kImageBytes));
  const auto unheard = [&] { return io([&](auto done) { image->flush({}, done); }).error; };
  EXPECT_EQ(unheard(), objecter::OsdErrc::kLostWrites);
  EXPECT_FALSE(unheard());
}

TEST_F(TrimTest, OfNothingIsDone) {
  EXPECT_FALSE(trim(kImageBytes, kImageBytes));
  EXPECT_EQ(read(0, kKiB), std::string(kKiB, 'x'));
}

}  // namespace
}  // namespace lunar::gateway
