// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/osd_op.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/objecter/protocol/exact_decoding.h"

namespace lunar::objecter {
namespace {

SubOp step(OpCode code, uint64_t offset = 0, uint64_t length = 0, uint32_t data_length = 0,
           std::string name = {}) {
  SubOp result;
  result.code = code;
  result.offset = offset;
  result.length = length;
  result.data_length = data_length;
  result.name = std::move(name);
  return result;
}

OsdOpHeader op_with(std::vector<SubOp> steps, std::string object = "img.0000000000000001") {
  OsdOpHeader op;
  op.tid = 42;
  op.oldest_tid = 40;
  op.attempt = 2;
  op.epoch = 9;
  op.pg = {3, 17};
  op.object = std::move(object);
  op.image = 0xabcdef;
  op.flags = kOpIdempotent;
  op.steps = std::move(steps);
  return op;
}

std::size_t data_of(const OsdOpHeader& op) {
  std::size_t sum = 0;
  for (const SubOp& s : op.steps) sum += s.data_length;
  return sum;
}

void expect_equal(const OsdOpHeader& a, const OsdOpHeader& b) {
  EXPECT_EQ(a.tid, b.tid);
  EXPECT_EQ(a.oldest_tid, b.oldest_tid);
  EXPECT_EQ(a.attempt, b.attempt);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.pg, b.pg);
  EXPECT_EQ(a.object, b.object);
  EXPECT_EQ(a.image, b.image);
  EXPECT_EQ(a.flags, b.flags);
  ASSERT_EQ(a.steps.size(), b.steps.size());
  for (std::size_t i = 0; i < a.steps.size(); ++i) {
    EXPECT_EQ(a.steps[i].code, b.steps[i].code) << i;
    EXPECT_EQ(a.steps[i].flags, b.steps[i].flags) << i;
    EXPECT_EQ(a.steps[i].offset, b.steps[i].offset) << i;
    EXPECT_EQ(a.steps[i].length, b.steps[i].length) << i;
    EXPECT_EQ(a.steps[i].data_length, b.steps[i].data_length) << i;
    EXPECT_EQ(a.steps[i].version, b.steps[i].version) << i;
    EXPECT_EQ(a.steps[i].name, b.steps[i].name) << i;
  }
}

// One good step of every code.
std::vector<SubOp> all_codes() {
  SubOp version = step(OpCode::kAssertVersion);
  version.version = {7, 8};
  SubOp durable = step(OpCode::kWrite, 4096, 512, 512);
  durable.flags = kFua | kFadviseDontNeed;
  return {step(OpCode::kRead, 8, 16),
          step(OpCode::kSparseRead, 0, 4096),
          step(OpCode::kStat),
          step(OpCode::kMapExtents, 0, 1 << 22),
          step(OpCode::kGetXattr, 0, 0, 0, "size"),
          version,
          step(OpCode::kCmpExt, 512, 512, 512),
          durable,
          step(OpCode::kWriteFull, 0, 100, 100),
          step(OpCode::kWriteSame, 0, 8192, 512),
          step(OpCode::kZero, 4096, 4096),
          step(OpCode::kTruncate, 0, 12345),
          step(OpCode::kDelete),
          step(OpCode::kSetXattr, 0, 0, 5, "name"),
          step(OpCode::kOrWrite, 0, 512, 512)};
}

TEST(OsdOpTest, EveryCodeSurvivesTheWire) {
  const OsdOpHeader op = op_with(all_codes());
  ASSERT_TRUE(is_valid(op));
  const auto read = decode_osd_op(encoded(op), data_of(op));
  ASSERT_TRUE(read);
  expect_equal(op, *read);
  OsdOpHeader flush = op_with({step(OpCode::kFlush)}, "");
  flush.steps[0].version.incarnation = 0x1122334455667788;  // the loss that was heard of
  for (const OsdOpHeader& alone :
       {flush, op_with({step(OpCode::kList, 0, 100, 0, "cursor")}, "")}) {
    const auto again = decode_osd_op(encoded(alone), 0);
    ASSERT_TRUE(again);
    expect_equal(alone, *again);
  }
}

// The layout of docs/protocol-osd.md, byte for byte.
TEST(OsdOpTest, BytesOfAWriteArePinned) {
  OsdOpHeader op = op_with({step(OpCode::kWrite, 0x1000, 0x200, 0x200)}, "o1");
  op.steps[0].flags = kFua;
  const Buffer bytes = encoded(op);
  const std::string hex = [&] {
    std::string text;
    char digits[3];
    for (std::byte b : bytes) {
      std::snprintf(digits, sizeof digits, "%02x", std::to_integer<unsigned>(b));
      text += digits;
    }
    return text;
  }();
  EXPECT_EQ(hex,
            "2a00000000000000"  // tid
            "2800000000000000"  // oldest_tid
            "02000000"          // attempt
            "0200"              // flags: idempotent
            "0100"              // steps
            "0900000000000000"  // epoch
            "0300000000000000"  // pool
            "11000000"          // seed
            "efcdab0000000000"  // image
            "020000006f31"      // object
            "10000100"          // WRITE, FUA
            "0010000000000000"  // offset
            "00020000");        // data_length
}

TEST(OsdOpTest, PrefixesAndLeftoversAreRefused) {
  const OsdOpHeader op = op_with(all_codes());
  const Buffer whole = encoded(op);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const Buffer part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_EQ(decode_osd_op(part, data_of(op)).error(), make_error_code(OsdErrc::kInvalid))
        << length;
  }
  Buffer more = whole;
  more.push_back(std::byte{0});
  EXPECT_FALSE(decode_osd_op(more, data_of(op)));
  EXPECT_FALSE(decode_osd_op(whole, data_of(op) + 1)) << "data that belongs to no step";
  EXPECT_FALSE(decode_osd_op(whole, data_of(op) - 1));
}

TEST(OsdOpTest, AnyDamagedByteIsRefusedOrStillValid) {
  const OsdOpHeader op = op_with(all_codes());
  const Buffer whole = encoded(op);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      Buffer bad = whole;
      bad[at] ^= static_cast<std::byte>(1 << bit);
      const auto read = decode_osd_op(bad, data_of(op));
      if (read) {
        EXPECT_TRUE(is_valid(*read)) << at;
        EXPECT_EQ(encoded(*read), bad) << "one form per op; byte " << at;
      }
    }
  }
}

struct BadOp {
  const char* why;
  std::function<OsdOpHeader()> make;
};

class BadOpTest : public testing::TestWithParam<BadOp> {};

TEST_P(BadOpTest, IsRefused) {
  const OsdOpHeader op = GetParam().make();
  EXPECT_FALSE(is_valid(op));
}

OsdOpHeader changed(const std::function<void(OsdOpHeader&)>& change) {
  OsdOpHeader op = op_with({step(OpCode::kWrite, 0, 512, 512)});
  change(op);
  return op;
}

const BadOp kBadOps[] = {
    {"tid_0", [] { return changed([](auto& op) { op.tid = op.oldest_tid = 0; }); }},
    {"oldest_above_tid", [] { return changed([](auto& op) { op.oldest_tid = 43; }); }},
    {"attempt_0", [] { return changed([](auto& op) { op.attempt = 0; }); }},
    {"pool_0", [] { return changed([](auto& op) { op.pg.pool = 0; }); }},
    {"unknown_flag", [] { return changed([](auto& op) { op.flags = 0x80; }); }},
    {"no_steps", [] { return changed([](auto& op) { op.steps.clear(); }); }},
    {"too_many_steps", [] { return changed([](auto& op) { op.steps.resize(17); }); }},
    {"no_object", [] { return changed([](auto& op) { op.object.clear(); }); }},
    {"bad_object_name", [] { return changed([](auto& op) { op.object = "a/b"; }); }},
    {"object_with_flush", [] { return op_with({step(OpCode::kFlush)}); }},
    {"flush_beside_others",
     [] {
       return op_with({step(OpCode::kFlush), step(OpCode::kFlush)}, "");
     }},
    {"flush_after_write",
     [] {
       return op_with({step(OpCode::kWrite, 0, 1, 1), step(OpCode::kFlush)});
     }},
    {"list_of_nothing", [] { return op_with({step(OpCode::kList)}, ""); }},
    {"list_too_long", [] { return op_with({step(OpCode::kList, 0, 10'001)}, ""); }},
    {"list_with_bad_cursor", [] { return op_with({step(OpCode::kList, 0, 1, 0, "/")}, ""); }},
    {"whole_read_from_the_middle", [] { return op_with({step(OpCode::kRead, 8, 0)}); }},
    {"huge_read", [] { return op_with({step(OpCode::kRead, 0, (32u << 20) + 1)}); }},
    {"reads_beyond_a_frame",
     [] {
       return op_with({step(OpCode::kRead, 0, 20u << 20), step(OpCode::kRead, 0, 20u << 20)});
     }},
    {"wrapping_range", [] { return op_with({step(OpCode::kZero, ~0ull, 2)}); }},
    {"range_beyond_an_object", [] { return op_with({step(OpCode::kZero, 1ull << 40, 1)}); }},
    {"empty_write", [] { return op_with({step(OpCode::kWrite)}); }},
    {"length_is_not_the_datas", [] { return op_with({step(OpCode::kWrite, 0, 511, 512)}); }},
    {"write_same_of_a_part", [] { return op_with({step(OpCode::kWriteSame, 0, 1000, 512)}); }},
    {"write_same_of_nothing", [] { return op_with({step(OpCode::kWriteSame, 0, 512, 0)}); }},
    {"data_for_a_read", [] { return op_with({step(OpCode::kRead, 0, 512, 512)}); }},
    {"data_beyond_a_frame",
     [] {
       return op_with(
           {step(OpCode::kWrite, 0, 32u << 20, 32u << 20), step(OpCode::kWrite, 0, 1, 1)});
     }},
    {"unnamed_xattr", [] { return op_with({step(OpCode::kGetXattr)}); }},
    {"huge_xattr", [] { return op_with({step(OpCode::kSetXattr, 0, 0, 70'000, "x")}); }},
    {"unknown_code", [] { return op_with({step(static_cast<OpCode>(99))}); }},
    {"unknown_step_flag", [] { return changed([](auto& op) { op.steps[0].flags = 8; }); }},
};
INSTANTIATE_TEST_SUITE_P(All, BadOpTest, testing::ValuesIn(kBadOps),
                         [](const auto& info) { return info.param.why; });

TEST(OsdReplyTest, SurvivesTheWire) {
  OsdReplyHeader reply;
  reply.tid = 5;
  reply.attempt = 3;
  reply.error = OsdErrc::kMiscompare;
  reply.epoch = 8;
  reply.version = {1, 2};
  reply.verifier = 77;
  reply.bytes_inline = 512;
  reply.bytes_one_sided = 4096;
  reply.steps = {{OsdErrc::kOk, 100, 0}, {OsdErrc::kMiscompare, 0, 17}};
  Buffer bytes;
  encode(reply, bytes);
  EXPECT_EQ(bytes.size(), 66u + 2 * 16);
  const auto read = decode_osd_reply(bytes, 100);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->tid, 5u);
  EXPECT_EQ(read->attempt, 3u);
  EXPECT_EQ(read->error, OsdErrc::kMiscompare);
  EXPECT_EQ(read->epoch, 8u);
  EXPECT_EQ(read->version, (ObjectVersion{1, 2}));
  EXPECT_EQ(read->verifier, 77u);
  EXPECT_EQ(read->bytes_inline, 512u);
  EXPECT_EQ(read->bytes_one_sided, 4096u);
  ASSERT_EQ(read->steps.size(), 2u);
  EXPECT_EQ(read->steps[0].data_length, 100u);
  EXPECT_EQ(read->steps[1].value, 17u);

  EXPECT_FALSE(decode_osd_reply(bytes, 99)) << "the steps' data must add up to the message's";
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const Buffer part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(decode_osd_reply(part, 100)) << length;
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode_osd_reply(bytes, 100));
}

TEST(OsdReplyTest, HostileCountsAndErrorsAreRefused) {
  OsdReplyHeader reply;
  reply.tid = 5;
  reply.steps.resize(17);
  Buffer bytes;
  encode(reply, bytes);
  EXPECT_FALSE(decode_osd_reply(bytes, 0)) << "17 steps";
  reply.steps.resize(1);
  reply.steps[0].error = static_cast<OsdErrc>(1000);
  bytes.clear();
  encode(reply, bytes);
  EXPECT_FALSE(decode_osd_reply(bytes, 0)) << "unknown error";
  // Two lengths whose 32-bit sum would wrap to the data's length.
  reply.steps = {{OsdErrc::kOk, 0xffffffff, 0}, {OsdErrc::kOk, 2, 0}};
  bytes.clear();
  encode(reply, bytes);
  EXPECT_FALSE(decode_osd_reply(bytes, 1));
}

TEST(ExtentMapTest, SurvivesTheWireAndLeavesTheRest) {
  const ExtentMap map{{{0, 4096}, {8192, 1}, {1 << 20, 512}}};
  Buffer bytes;
  encode(map, bytes);
  bytes.push_back(std::byte{0x5a});
  ConstBytes rest = bytes;
  const auto read = decode_extent_map(rest);
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, map);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0], std::byte{0x5a});
}

TEST(ExtentMapTest, DisorderIsRefused) {
  const ExtentMap bad[] = {{{{0, 0}}},          {{{0, 10}, {10, 5}}},  // touching
                           {{{0, 10}, {5, 5}}}, {{{20, 10}, {0, 5}}},
                           {{{~0ull, 2}}},      {{{1ull << 40, 1}}}};
  for (const ExtentMap& map : bad) {
    Buffer bytes;
    encode(map, bytes);
    ConstBytes rest = bytes;
    EXPECT_FALSE(decode_extent_map(rest)) << map.extents[0].first;
    EXPECT_EQ(rest.size(), bytes.size()) << "nothing is taken on failure";
  }
  Buffer count(4, std::byte{0xff});
  ConstBytes rest = count;
  EXPECT_FALSE(decode_extent_map(rest)) << "a count without extents";
}

TEST(NamesTest, SurviveTheWire) {
  const std::vector<std::string> names = {"a", "b.0000000000000001"};
  Buffer bytes;
  encode(names, bytes);
  EXPECT_EQ(decode_names(bytes).value(), names);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    const Buffer part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(decode_names(part)) << length;
  }
  bytes.clear();
  encode(std::vector<std::string>{"bad/name"}, bytes);
  EXPECT_FALSE(decode_names(bytes));
}

TEST(ReplyBoundTest, CoversWhatAStepMayReturn) {
  EXPECT_EQ(max_reply_bytes(step(OpCode::kRead, 0, 4096)), 4096u);
  EXPECT_EQ(max_reply_bytes(step(OpCode::kRead, 0, 0)), 1u << 20);
  EXPECT_EQ(max_reply_bytes(step(OpCode::kWrite, 0, 512, 512)), 0u);
  EXPECT_EQ(max_reply_bytes(step(OpCode::kSparseRead, 0, 8192)), 8192 + 4 + 16 * 4u);
  EXPECT_EQ(max_extents(1ull << 40), OsdOpHeader::kMaxExtents);
  Buffer bytes;
  encode(std::vector<std::string>(10, std::string(ObjectId::kMaxNameBytes, 'n')), bytes);
  EXPECT_EQ(max_reply_bytes(step(OpCode::kList, 0, 10)), bytes.size());
}

}  // namespace
}  // namespace lunar::objecter
