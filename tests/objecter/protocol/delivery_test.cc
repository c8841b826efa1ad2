// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/delivery.h"

#include <gtest/gtest.h>

#include <functional>

#include "objecter/protocol/osd_op.h"
#include "tests/objecter/protocol/exact_decoding.h"

namespace lunar::objecter {
namespace {

DeliveryDescriptor some(DeliveryAccess access = DeliveryAccess::kPull) {
  DeliveryDescriptor delivery;
  delivery.link_generation = 3;
  delivery.lease_ms = 2000;
  delivery.access = access;
  delivery.has_crc = true;
  delivery.fragment_bytes = 4096;
  delivery.ranges = {{0x10000, 5000, 7}, {0x20000, 5000, 8}};
  if (access == DeliveryAccess::kPull) delivery.crcs = {1, 2, 3};
  return delivery;
}

OsdOpHeader op_of(DeliveryAccess access) {
  OsdOpHeader op;
  op.tid = op.oldest_tid = 5;
  op.pg.pool = 1;
  op.object = "a";
  op.flags = kOpOneSided;
  op.steps.resize(1);
  op.steps[0].code = access == DeliveryAccess::kPull ? OpCode::kWrite : OpCode::kRead;
  op.steps[0].length = 10'000;
  if (access == DeliveryAccess::kPull) op.steps[0].data_length = 10'000;
  op.delivery = some(access);
  return op;
}

TEST(DeliveryTest, BothWaysSurviveTheWireWithoutData) {
  for (const DeliveryAccess access : {DeliveryAccess::kPull, DeliveryAccess::kPush}) {
    const OsdOpHeader op = op_of(access);
    const Buffer bytes = encoded(op);
    const auto read = decode_osd_op(bytes, 0);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->delivery, op.delivery);
    EXPECT_FALSE(decode_osd_op(bytes, 10'000)) << "described and sent";
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      const Buffer part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
      EXPECT_FALSE(decode_osd_op(part, 0)) << length;
    }
    Buffer more = bytes;
    more.push_back(std::byte{0});
    EXPECT_FALSE(decode_osd_op(more, 0));
  }
}

TEST(DeliveryTest, FlagAndDescriptorComeTogether) {
  OsdOpHeader op = op_of(DeliveryAccess::kPull);
  op.flags = 0;
  EXPECT_FALSE(is_valid(op));
  op = op_of(DeliveryAccess::kPull);
  op.delivery.reset();
  EXPECT_FALSE(is_valid(op));
}

struct BadDelivery {
  const char* why;
  std::function<void(OsdOpHeader&)> change;
  DeliveryAccess access = DeliveryAccess::kPull;
};
class BadDeliveryTest : public testing::TestWithParam<BadDelivery> {};

TEST_P(BadDeliveryTest, IsRefused) {
  OsdOpHeader op = op_of(GetParam().access);
  ASSERT_TRUE(is_valid(op));
  GetParam().change(op);
  EXPECT_FALSE(is_valid(op));
  EXPECT_FALSE(decode_osd_op(encoded(op), 0));
}

const BadDelivery kBad[] = {
    {"no_link", [](auto& op) { op.delivery->link_generation = 0; }},
    {"no_lease", [](auto& op) { op.delivery->lease_ms = 0; }},
    {"unknown_access", [](auto& op) { op.delivery->access = static_cast<DeliveryAccess>(3); }},
    {"no_fragments", [](auto& op) { op.delivery->fragment_bytes = 0; }},
    {"tiny_fragments", [](auto& op) { op.delivery->fragment_bytes = 4095; }},
    {"huge_fragments", [](auto& op) { op.delivery->fragment_bytes = (32u << 20) + 1; }},
    {"no_ranges", [](auto& op) { op.delivery->ranges.clear(); }},
    {"too_many_ranges",
     [](auto& op) {
       op.delivery->ranges.assign(17, {0x1000, 1000, 1});
       op.steps[0].length = op.steps[0].data_length = 17'000;
       op.delivery->crcs.resize(5);
     }},
    {"empty_range",
     [](auto& op) {
       op.delivery->ranges.push_back({0x1000, 0, 1});
     }},
    {"range_past_the_end_of_memory", [](auto& op) { op.delivery->ranges[0].addr = ~0ull - 100; }},
    {"bytes_above_the_limit",
     [](auto& op) {
       op.delivery->ranges[0].length = 33u << 20;
       op.delivery->crcs.clear();
       op.delivery->has_crc = false;
     }},
    {"fewer_bytes_than_the_steps", [](auto& op) { op.delivery->ranges[1].length = 4999; }},
    {"a_crc_too_few", [](auto& op) { op.delivery->crcs.pop_back(); }},
    {"a_crc_too_many", [](auto& op) { op.delivery->crcs.push_back(0); }},
    {"push_of_a_write", [](auto& op) { op.delivery = some(DeliveryAccess::kPush); }},
    {"pull_for_a_read", [](auto& op) { op.delivery = some(); }, DeliveryAccess::kPush},
    {"push_with_crcs",
     [](auto& op) {
       op.delivery->crcs = {1, 2, 3};
     },
     DeliveryAccess::kPush},
    {"push_of_another_length", [](auto& op) { op.steps[0].length = 9999; }, DeliveryAccess::kPush},
    {"push_of_two_steps", [](auto& op) { op.steps.push_back(op.steps[0]); }, DeliveryAccess::kPush},
    {"push_of_a_stat", [](auto& op) { op.steps[0].code = OpCode::kStat; }, DeliveryAccess::kPush},
};
INSTANTIATE_TEST_SUITE_P(All, BadDeliveryTest, testing::ValuesIn(kBad),
                         [](const auto& info) { return info.param.why; });

TEST(DeliveryTest, IsCutWhereRangesAndPiecesEnd) {
  const DeliveryDescriptor delivery = some();
  const auto fragments = cut_delivery(delivery, 1000, 8000, 3000);
  ASSERT_EQ(fragments.size(), 4u);
  EXPECT_EQ(fragments[0].key.addr, 0x10000u + 1000);
  EXPECT_EQ(fragments[0].length, 3000u);
  EXPECT_EQ(fragments[1].key.addr, 0x10000u + 4000);
  EXPECT_EQ(fragments[1].length, 1000u);
  EXPECT_EQ(fragments[2].key.addr, 0x20000u);
  EXPECT_EQ(fragments[2].key.rkey, 8u);
  EXPECT_EQ(fragments[2].length, 3000u);
  EXPECT_EQ(fragments[3].offset, 8000u);
  EXPECT_EQ(fragments[3].length, 1000u);
  for (const DeliveryFragment& fragment : fragments) {
    EXPECT_EQ(fragment.key.length, fragment.length);
    EXPECT_EQ(fragment.key.link_generation, 3u);
  }
}

TEST(DeliveryTest, APushedReplyHasNoDataAndNoError) {
  OsdReplyHeader reply;
  reply.tid = 5;
  reply.steps = {{OsdErrc::kOk, 10'000, 0}};
  reply.is_pushed = true;
  for (const bool has_crc : {false, true}) {
    if (has_crc) reply.push_crc = 0x12345678;
    Buffer bytes;
    encode(reply, bytes);
    const auto read = decode_osd_reply(bytes, 0);
    ASSERT_TRUE(read);
    EXPECT_TRUE(read->is_pushed);
    EXPECT_EQ(read->push_crc, reply.push_crc);
    EXPECT_FALSE(decode_osd_reply(bytes, 10'000)) << "pushed and sent";
  }
  Buffer bytes;
  reply.error = OsdErrc::kIoError;
  encode(reply, bytes);
  EXPECT_FALSE(decode_osd_reply(bytes, 0));
  reply.error = OsdErrc::kOk;
  reply.steps[0].data_length = 0;
  bytes.clear();
  encode(reply, bytes);
  EXPECT_FALSE(decode_osd_reply(bytes, 0)) << "nothing was pushed";
}

}  // namespace
}  // namespace lunar::objecter
