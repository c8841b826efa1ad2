// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/wire/frame.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "common/crc32c.h"
#include "msgr/errors.h"

namespace lunar::msgr {
namespace {

Frame make_frame(std::string_view front, ConstBytes data) {
  Frame frame;
  frame.header.tag = static_cast<uint8_t>(FrameTag::kMessage);
  frame.header.tid = 7;
  const ConstBytes bytes = as_const_bytes(front);
  frame.front.assign(bytes.begin(), bytes.end());
  if (!data.empty()) frame.data.push_back(data);
  return frame;
}

TEST(FrameTest, SealsWhatItsChecksAccept) {
  const std::string data = "some data";
  for (const bool crc : {false, true}) {
    Frame frame = make_frame("front", as_const_bytes(data));
    seal_frame(frame, crc);
    EXPECT_FALSE(check_frame_header(frame.header, {}));
    EXPECT_FALSE(check_header_crc(frame.header, frame.front));
    EXPECT_FALSE(check_data_crc(frame.header, as_const_bytes(data)));
    EXPECT_EQ(frame.header.front_length.value(), 5u);
    EXPECT_EQ(frame.header.data_length.value(), data.size());
    EXPECT_EQ(frame.header.flags, crc ? kFlagDataCrc : 0);
  }
}

TEST(FrameTest, TheBytesOnTheWireAreThoseOfTheSpecification) {
  Frame frame = make_frame("ab", as_const_bytes("123456789"));
  frame.header.priority = 127;
  frame.header.message_type = 0x0102;
  frame.header.seq = 0x1122334455667788;
  frame.header.ack_seq = 9;
  frame.header.trace_id = 0xabcdef;
  seal_frame(frame, true);
  unsigned char wire[64];
  std::memcpy(wire, &frame.header, sizeof wire);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(wire), 4), "LNR1");
  EXPECT_EQ(wire[4], 16);     // tag
  EXPECT_EQ(wire[5], 1);      // flags
  EXPECT_EQ(wire[6], 127);    // priority
  EXPECT_EQ(wire[8], 0x02);   // message_type, little-endian
  EXPECT_EQ(wire[12], 2);     // front_length
  EXPECT_EQ(wire[16], 9);     // data_length
  EXPECT_EQ(wire[20], 0x83);  // data_crc: that of "123456789" is 0xe3069283
  EXPECT_EQ(wire[23], 0xe3);
  EXPECT_EQ(wire[24], 0x88);  // seq
  EXPECT_EQ(wire[32], 9);     // ack_seq
  EXPECT_EQ(wire[40], 7);     // tid
  EXPECT_EQ(wire[48], 0xef);  // trace_id
  const ConstBytes covered(reinterpret_cast<std::byte*>(wire), 60);
  EXPECT_EQ(frame.header.header_crc.value(), crc32c(crc32c(0, covered), frame.front));
}

TEST(FrameTest, SealingAgainForgetsWhatWasSealedBefore) {
  Frame frame = make_frame("front", as_const_bytes("x"));
  seal_frame(frame, true);
  frame.data.clear();
  frame.header.seq = 5;
  seal_frame(frame, true);
  EXPECT_EQ(frame.header.data_crc.value(), 0u);
  EXPECT_EQ(frame.header.flags, 0);
  EXPECT_FALSE(check_header_crc(frame.header, frame.front));
}

TEST(FrameTest, EachBadFieldHasItsError) {
  Frame good = make_frame("front", as_const_bytes("x"));
  seal_frame(good, false);
  FrameLimits limits;
  limits.max_front_bytes = 5;
  limits.max_data_bytes = 1;
  ASSERT_FALSE(check_frame_header(good.header, limits));
  const auto error_with = [&](auto change) {
    FrameHeader header = good.header;
    change(header);
    return check_frame_header(header, limits);
  };
  EXPECT_EQ(error_with([](auto& h) { h.magic = 1; }), MsgrErrc::kBadMagic);
  EXPECT_EQ(error_with([](auto& h) { h.tag = 0; }), MsgrErrc::kBadTag);
  EXPECT_EQ(error_with([](auto& h) { h.tag = 14; }), MsgrErrc::kBadTag);
  EXPECT_EQ(error_with([](auto& h) { h.tag = 255; }), MsgrErrc::kBadTag);
  EXPECT_EQ(error_with([](auto& h) { h.flags = 2; }), MsgrErrc::kBadFrame);
  EXPECT_EQ(error_with([](auto& h) { h.reserved0 = 1; }), MsgrErrc::kBadFrame);
  EXPECT_EQ(error_with([](auto& h) { h.reserved1 = 1; }), MsgrErrc::kBadFrame);
  EXPECT_EQ(error_with([](auto& h) { h.data_crc = 1; }), MsgrErrc::kBadFrame);
  EXPECT_EQ(error_with([](auto& h) { h.front_length = 6; }), MsgrErrc::kTooLong);
  EXPECT_EQ(error_with([](auto& h) { h.front_length = UINT32_MAX; }), MsgrErrc::kTooLong);
  EXPECT_EQ(error_with([](auto& h) { h.data_length = 2; }), MsgrErrc::kTooLong);
}

TEST(FrameTest, EveryFlippedBitIsNoticed) {
  const std::string data = "data";
  Frame frame = make_frame("front", as_const_bytes(data));
  seal_frame(frame, true);
  for (std::size_t bit = 0; bit < sizeof(FrameHeader) * 8; ++bit) {
    FrameHeader damaged = frame.header;
    reinterpret_cast<unsigned char*>(&damaged)[bit / 8] ^= static_cast<unsigned char>(1 << bit % 8);
    EXPECT_TRUE(check_frame_header(damaged, {}) || check_header_crc(damaged, frame.front)) << bit;
  }
  for (auto& byte : frame.front) {
    byte ^= std::byte{1};
    EXPECT_EQ(check_header_crc(frame.header, frame.front), MsgrErrc::kBadCrc);
    byte ^= std::byte{1};
  }
  EXPECT_EQ(check_data_crc(frame.header, as_const_bytes("dat4")), MsgrErrc::kBadCrc);
  EXPECT_EQ(check_data_crc(frame.header, as_const_bytes("dat")), MsgrErrc::kBadCrc);
}

}  // namespace
}  // namespace lunar::msgr
