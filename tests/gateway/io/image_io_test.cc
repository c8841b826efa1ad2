// SPDX-License-Identifier: LGPL-2.1-or-later
#include <random>

#include "tests/gateway/image_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

constexpr StripeLayout kStriped{.object_size = 65536, .stripe_unit = 4096, .stripe_count = 3};

class ImageIoTest : public ImageFixture {};

TEST_F(ImageIoTest, WhatWasNeverWrittenReadsAsZeroes) {
  create_and_open(8 * kMiB);
  EXPECT_EQ(read(4 * kMiB - 512, 1024), std::string(1024, '\0'));
}

TEST_F(ImageIoTest, AWriteAcrossObjectsReadsBack) {
  create_and_open(8 * kMiB);
  const std::string data(3000, 'x');
  EXPECT_FALSE(write(4 * kMiB - 1000, data));
  EXPECT_EQ(read(4 * kMiB - 1001, 3002), '\0' + data + '\0');
}

// A striped image is a flat array of bytes: every op against a model in memory.
TEST_F(ImageIoTest, RandomOpsAgreeWithAFlatArray) {
  create_and_open(kMiB, kStriped);
  std::string model(kMiB, '\0');
  const uint32_t seed = 4711;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    const uint64_t offset = random() % kMiB / 512 * 512;
    const uint64_t length = std::min<uint64_t>(kMiB - offset, 512 * (1 + random() % 200));
    switch (random() % 4) {
      case 0: {
        const std::string data(length, static_cast<char>(random()));
        ASSERT_FALSE(write(offset, data));
        model.replace(offset, length, data);
        break;
      }
      case 1: {
        ASSERT_FALSE(io([&](auto done) { image->discard(offset, length, {}, done); }).error);
        model.replace(offset, length, std::string(length, '\0'));
        break;
      }
      case 2: {
        const std::string pattern(512, static_cast<char>(random()));
        ASSERT_FALSE(io([&](auto done) {
                       image->write_same(offset, length, as_const_bytes(pattern), {}, done);
                     }).error);
        for (uint64_t at = offset; at < offset + length; at += 512) model.replace(at, 512, pattern);
        break;
      }
      default:
        ASSERT_EQ(read(offset, length), model.substr(offset, length));
    }
  }
  EXPECT_EQ(read(0, kMiB), model);
}

TEST_F(ImageIoTest, CompareAndWriteTellsTheFirstDifference) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(4096, std::string(512, 'a')));
  std::string compare(512, 'a');
  const std::string next(512, 'b');
  const auto swap = [&] {
    return io([&](auto done) {
      image->compare_and_write(4096, as_const_bytes(compare), as_const_bytes(next), {}, done);
    });
  };
  compare[77] = 'z';
  const IoResult different = swap();
  EXPECT_EQ(different.error, OsdErrc::kMiscompare);
  EXPECT_EQ(different.value, 77u);
  EXPECT_EQ(read(4096, 512), std::string(512, 'a'));
  compare[77] = 'a';
  EXPECT_FALSE(swap().error);
  EXPECT_EQ(read(4096, 512), next);
}

TEST_F(ImageIoTest, CompareAndWriteNeverCrossesAStripeUnit) {
  create_and_open(kMiB, kStriped);
  const std::string data(1024, 'a');
  const IoResult result = io([&](auto done) {
    image->compare_and_write(4096 - 512, as_const_bytes(data), as_const_bytes(data), {}, done);
  });
  EXPECT_EQ(result.error, OsdErrc::kInvalid);
}

TEST_F(ImageIoTest, OrWriteKeepsWhatWasSet) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(0, std::string(512, '\x0f')));
  const std::string bits(512, '\x30');
  EXPECT_FALSE(io([&](auto done) { image->or_write(0, as_const_bytes(bits), {}, done); }).error);
  EXPECT_EQ(read(0, 512), std::string(512, '\x3f'));
}

// An initiator repeats what ended for want of space, and would set bits again that others cleared.
TEST_F(ImageIoTest, AnOrWriteOfWhichAPartWasDoneHasNoKnownOutcome) {
  create_and_open(8 * kMiB);
  const std::string bits(1024, '\x30');
  IoResult result;
  for (auto& [id, osd] : osds) {
    osd.store->fail_next(osd::FaultyStore::Call::kWrite, system_error(ENOSPC));
    result =
        io([&](auto done) { image->or_write(4 * kMiB - 512, as_const_bytes(bits), {}, done); });
    if (result.error) break;  // one object is on that server, or both
  }
  EXPECT_EQ(result.error, OsdErrc::kUnknownOutcome);
}

// TEST UNIT READY is answered by it.
TEST_F(ImageIoTest, AnUnknownOutcomeSaysThatNobodyAnswered) {
  create_and_open(8 * kMiB);
  const std::string bits(1024, '\x30');
  int unanswered = 0;
  for (auto& [id, osd] : osds) {
    osd.store->hold(osd::FaultyStore::Call::kRead);
    const IoResult result =
        io([&](auto done) { image->or_write(4 * kMiB - 512, as_const_bytes(bits), {}, done); });
    osd.store->release(osd::FaultyStore::Call::kRead);
    center->run_until_idle();
    if (!result.error) continue;  // neither object is on that server
    ++unanswered;
    EXPECT_EQ(result.error, OsdErrc::kUnknownOutcome);
    EXPECT_EQ(result.reason, OsdErrc::kTimedOut);
  }
  EXPECT_GT(unanswered, 0);
}

TEST_F(ImageIoTest, DiscardFreesWhatItCovers) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(0, std::string(4 * kMiB, 'x')));
  const auto allocation = [&] {
    return wait<Image::Allocation>([&](auto done) {
      image->allocation_at(0, 0, [done](Result<Image::Allocation> found) mutable {
        if (found) return done(*found);
        done(failure(found.error(), "allocation"));
      });
    });
  };
  ASSERT_TRUE(allocation());
  EXPECT_TRUE(allocation()->is_allocated);
  ASSERT_FALSE(io([&](auto done) { image->discard(0, 4 * kMiB, {}, done); }).error);
  EXPECT_FALSE(allocation()->is_allocated);
  EXPECT_EQ(allocation()->length, 4 * kMiB);
}

TEST_F(ImageIoTest, AskingForTheAllocationIsCancelledByItsId) {
  create_and_open(8 * kMiB);
  for (auto& [id, osd] : osds) osd.store->hold(osd::FaultyStore::Call::kWrite);
  const std::string data(512, 'x');
  std::optional<IoResult> written;
  image->write(0, as_const_bytes(data), {}, [&](const IoResult& io) { written = io; });
  // Both wait behind it at the server.
  const uint64_t io_id = gateway->next_io_id();
  std::optional<Result<Image::Allocation>> first;
  std::optional<Result<Image::Allocation>> other;
  image->allocation_at(0, io_id, [&](Result<Image::Allocation> found) { first = found; });
  image->allocation_at(0, gateway->next_io_id(),
                       [&](Result<Image::Allocation> found) { other = found; });
  for (int turns = 0; turns < 10; ++turns) turn();
  image->cancel(io_id);
  image->cancel(io_id);  // as the abort tick does
  ASSERT_TRUE(until([&] { return first.has_value(); }));
  ASSERT_FALSE(first->has_value());
  EXPECT_EQ(first->error(), OsdErrc::kCancelled);
  EXPECT_FALSE(other.has_value());
  for (auto& [id, osd] : osds) osd.store->release(osd::FaultyStore::Call::kWrite);
  ASSERT_TRUE(until([&] { return written && other; }));
  EXPECT_FALSE(written->error);
  EXPECT_TRUE(other->has_value());
}

TEST_F(ImageIoTest, RangesOutsideTheImageAreRefused) {
  create_and_open(8 * kMiB);
  EXPECT_EQ(write(8 * kMiB - 512, std::string(1024, 'x')), OsdErrc::kInvalid);
  EXPECT_EQ(write(UINT64_MAX - 100, std::string(512, 'x')), OsdErrc::kInvalid);
  EXPECT_EQ(io([&](auto done) { image->discard(512, UINT64_MAX, {}, done); }).error,
            OsdErrc::kInvalid);
}

TEST_F(ImageIoTest, AnErrorOfTheStoreKeepsItsIdentity) {
  create_and_open(8 * kMiB);
  for (auto& [id, osd] : osds) {
    osd.store->fail_next(osd::FaultyStore::Call::kWrite, make_error_code(OsdErrc::kNoSpace), 100);
  }
  EXPECT_EQ(write(0, std::string(512, 'x')), OsdErrc::kNoSpace);
  EXPECT_EQ(write(4 * kMiB - 512, std::string(1024, 'x')), OsdErrc::kNoSpace);
}

TEST_F(ImageIoTest, ACancelledIoEndsOnceTheServerHasAnswered) {
  create_and_open(8 * kMiB);
  for (auto& [id, osd] : osds) osd.store->hold(osd::FaultyStore::Call::kWrite);
  const std::string data(512, 'x');
  std::optional<IoResult> result;
  const IoOptions options{.fua = false, .io_id = gateway->next_io_id()};
  image->write(0, as_const_bytes(data), options, [&](const IoResult& io) { result = io; });
  ASSERT_TRUE(until([&] {
    std::size_t held = 0;
    for (auto& [id, osd] : osds) held += osd.store->held(osd::FaultyStore::Call::kWrite);
    return held == 1;
  }));
  image->cancel(options.io_id);
  for (int turns = 0; turns < 10; ++turns) turn();
  EXPECT_FALSE(result) << "it ended while a server was still writing";
  for (auto& [id, osd] : osds) osd.store->release(osd::FaultyStore::Call::kWrite);
  ASSERT_TRUE(until([&] { return result.has_value(); }));
}

TEST_F(ImageIoTest, AWriteBackBeginsWhenWhatIsInFlightHasEnded) {
  create_and_open(8 * kMiB);
  for (auto& [id, osd] : osds) osd.store->hold(osd::FaultyStore::Call::kWrite);
  std::vector<std::string> ended;
  const std::string data(4096, 'x');
  image->write(0, as_const_bytes(data), {}, [&](const IoResult& io) {
    EXPECT_FALSE(io.error) << io.error.message();
    ended.emplace_back("write");
  });
  const uint64_t io_id = gateway->next_io_id();
  image->write_back({.io_id = io_id}, [&](const IoResult& io) {
    EXPECT_FALSE(io.error) << io.error.message();
    ended.emplace_back("write back");
  });
  center->run_until_idle();
  EXPECT_TRUE(ended.empty());
  image->cancel(io_id);  // there is no flush yet
  for (auto& [id, osd] : osds) osd.store->release(osd::FaultyStore::Call::kWrite);
  ASSERT_TRUE(until([&] { return ended.size() == 2; }));
  EXPECT_EQ(ended, (std::vector<std::string>{"write", "write back"}));
}

TEST_F(ImageIoTest, AfterCloseNothingIsAccepted) {
  create_and_open(8 * kMiB);
  ASSERT_TRUE(close(image));
  EXPECT_EQ(write(0, std::string(512, 'x')), OsdErrc::kShutdown);
}

TEST_F(ImageIoTest, CloseWaitsForIoInFlight) {
  create_and_open(8 * kMiB);
  const std::string data(8 * kMiB, 'x');
  bool written = false;
  image->write(0, as_const_bytes(data), {}, [&](const IoResult& io) { written = !io.error; });
  EXPECT_TRUE(close(image));
  EXPECT_TRUE(written);
}

TEST_F(ImageIoTest, AReadOnlyImageRefusesChanges) {
  create_and_open(8 * kMiB);
  auto reader = open(*gateway, "disk", {.read_only = true});
  ASSERT_TRUE(reader);
  ASSERT_TRUE(close(image));
  image = *reader;
  EXPECT_EQ(write(0, "x"), OsdErrc::kReadOnly);
  EXPECT_EQ(read(0, 1), std::string(1, '\0'));
  EXPECT_TRUE(close(image));
}

}  // namespace
}  // namespace lunar::gateway
