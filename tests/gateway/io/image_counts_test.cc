// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image_counts.h"

#include <nlohmann/json.hpp>

#include "tests/gateway/image_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

class ImageCountsTest : public ImageFixture {
 protected:
  Result<std::vector<HolderCounts>> ask() {
    std::optional<Result<std::vector<HolderCounts>>> result;
    image_counts(*gateway, image->pool(), image->id(), std::chrono::milliseconds(500),
                 [&](Result<std::vector<HolderCounts>> counts) { result = std::move(counts); });
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return std::move(*result);
  }
};

TEST_F(ImageCountsTest, SaysWhatWasDoneWithTheImage) {
  create_and_open(8 * kMiB);
  EXPECT_FALSE(write(0, std::string(4096, 'x')));
  EXPECT_FALSE(write(4096, std::string(512, 'x')));
  read(0, 1024);
  const auto holders = ask();
  ASSERT_TRUE(holders);
  ASSERT_EQ(holders->size(), 1u);
  EXPECT_EQ(holders->front().client.instance, "gateway");
  const auto& counts = holders->front().counts;
  ASSERT_TRUE(counts);
  EXPECT_EQ(counts->writes, 2u);
  EXPECT_EQ(counts->write_bytes, 4608u);
  EXPECT_EQ(counts->reads, 1u);
  EXPECT_EQ(counts->read_bytes, 1024u);
}

TEST_F(ImageCountsTest, EachClientAnswersOnceHoweverOftenItHasTheImageOpen) {
  create_and_open(8 * kMiB);
  Client* reader = make_client("reader");
  const auto first = open(*reader, "disk", {.read_only = true});
  const auto second = open(*reader, "disk", {.read_only = true});
  ASSERT_TRUE(first && second);
  std::vector<std::byte> into(512);
  for (const auto& each : {*first, *second}) {
    EXPECT_FALSE(io([&](auto done) { each->read(0, into, {}, done); }).error);
  }
  const auto holders = ask();
  ASSERT_TRUE(holders);
  ASSERT_EQ(holders->size(), 2u);
  for (const HolderCounts& holder : *holders) {
    ASSERT_TRUE(holder.counts) << holder.client.instance;
    EXPECT_EQ(holder.counts->reads, holder.client.instance == "reader" ? 2u : 0u);
  }
}

TEST_F(ImageCountsTest, TheCountersOfAnImageHaveItsName) {
  create_and_open(8 * kMiB);
  EXPECT_FALSE(write(0, std::string(512, 'x')));
  EXPECT_EQ(write(8 * kMiB, "x"), make_error_code(OsdErrc::kInvalid));
  const auto dump = nlohmann::json::parse(perf_.dump("image.lunar/disk"));
  const auto& counters = dump.at("image.lunar/disk");
  EXPECT_EQ(counters.at("wr_bytes"), 513);
  EXPECT_EQ(counters.at("failed"), 1);
  EXPECT_EQ(counters.at("in_flight"), 0);
}

TEST_F(ImageCountsTest, AnImageThatIsNotThereIsAnError) {
  create_and_open(8 * kMiB);
  std::optional<Result<std::vector<HolderCounts>>> result;
  image_counts(*gateway, image->pool(), image->id() + 1, std::chrono::milliseconds(500),
               [&](Result<std::vector<HolderCounts>> counts) { result = std::move(counts); });
  ASSERT_TRUE(until([&] { return result.has_value(); }));
  ASSERT_FALSE(*result);
  EXPECT_EQ(result->error(), make_error_code(OsdErrc::kNoSuchObject));
}

TEST(ImageCountsTextTest, ReadsBackWhatItWrote) {
  const ImageCounts counts{1,          2, std::chrono::nanoseconds(3),
                           UINT64_MAX, 5, std::chrono::nanoseconds(6)};
  const auto back = decode_image_counts(encode(counts));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->reads, 1u);
  EXPECT_EQ(back->read_bytes, 2u);
  EXPECT_EQ(back->read_time.count(), 3);
  EXPECT_EQ(back->writes, UINT64_MAX);
  EXPECT_EQ(back->write_bytes, 5u);
  EXPECT_EQ(back->write_time.count(), 6);
}

TEST(ImageCountsTextTest, WhatIsNoAnswerIsNone) {
  for (const char* text : {"", "[]", "3", "{", "{\"rd\":1"}) {
    EXPECT_FALSE(decode_image_counts(text)) << text;
  }
  const auto other = decode_image_counts("{\"rd\":-1,\"wr\":\"x\",\"more\":7}");
  ASSERT_TRUE(other) << "of a later build";
  EXPECT_EQ(other->reads, 0u);
  EXPECT_EQ(other->writes, 0u);
}

TEST(ImageCountsTextTest, ATimeThatNobodyCanHaveTakenIsNotNegative) {
  const auto counts = decode_image_counts("{\"rd_ns\":18446744073709551615}");
  ASSERT_TRUE(counts);
  EXPECT_EQ(counts->read_time, std::chrono::nanoseconds::max());
}

}  // namespace
}  // namespace lunar::gateway
