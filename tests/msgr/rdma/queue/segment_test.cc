// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/queue/segment.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "msgr/errors.h"
#include "msgr/net/outgoing.h"
#include "msgr/wire/frame_decoder.h"
#include "tests/msgr/link_fixture.h"

namespace lunar::msgr::rdma {
namespace {

std::vector<std::byte> wire_of(const Segment& segment) {
  const SegmentHeader header = encode_header(segment);
  std::vector<std::byte> out(sizeof header + segment.payload.size());
  std::memcpy(out.data(), &header, sizeof header);
  std::copy(segment.payload.begin(), segment.payload.end(), out.begin() + sizeof header);
  return out;
}

// Memory from `begin` on, `length` long, is registered.
struct RegisteredRange final : KeyFinder {
  explicit RegisteredRange(std::string_view range) : memory(as_const_bytes(range)) {}
  bool find(ConstBytes range, uint32_t* lkey) const noexcept override {
    *lkey = 77;
    return range.data() >= memory.data() &&
           range.data() + range.size() <= memory.data() + memory.size();
  }
  ConstBytes memory;
};

TEST(SegmentTest, WhatIsEncodedIsDecoded) {
  const std::string payload = "frames";
  Segment segment;
  segment.flags = kSegmentGiveBack | kSegmentAcknowledges;
  segment.granted = 513;
  segment.returned = 65535;
  segment.payload = as_const_bytes(payload);
  const auto wire = wire_of(segment);
  const auto decoded = decode_segment(wire);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->type, SegmentType::kFrames);
  EXPECT_EQ(decoded->flags, segment.flags);
  EXPECT_EQ(decoded->granted, 513);
  EXPECT_EQ(decoded->returned, 65535);
  EXPECT_EQ(as_text(decoded->payload), payload);
}

TEST(SegmentTest, TheLayoutIsFixed) {
  Segment segment;
  segment.type = SegmentType::kCredits;
  segment.granted = 0x0102;
  segment.returned = 0x0304;
  segment.flags = kSegmentAcknowledges;
  const std::vector<std::byte> expected = {std::byte{2}, std::byte{1}, std::byte{4}, std::byte{3},
                                           std::byte{2}, std::byte{2}, std::byte{0}, std::byte{0}};
  EXPECT_EQ(wire_of(segment), expected);
}

TEST(SegmentTest, WhatNoEncoderMakesIsABadFrame) {
  const std::string payload = "x";
  Segment frames;
  frames.payload = as_const_bytes(payload);
  const auto good = wire_of(frames);
  ASSERT_TRUE(decode_segment(good));
  const auto refuses = [&](std::size_t at, int value) {
    auto bad = good;
    bad[at] = static_cast<std::byte>(value);
    const auto decoded = decode_segment(bad);
    return !decoded && decoded.error() == MsgrErrc::kBadFrame;
  };
  EXPECT_TRUE(refuses(4, 0)) << "no type";
  EXPECT_TRUE(refuses(4, 5)) << "an unknown type";
  EXPECT_TRUE(refuses(4, 2)) << "credits with payload";
  EXPECT_TRUE(refuses(4, 4)) << "a farewell with payload";
  EXPECT_TRUE(refuses(5, 4)) << "an unknown flag";
  EXPECT_TRUE(refuses(6, 0)) << "too short a length";
  EXPECT_TRUE(refuses(6, 2)) << "too long a length";
  EXPECT_TRUE(refuses(7, 1));
  for (std::size_t length = 0; length < sizeof(SegmentHeader); ++length) {
    EXPECT_FALSE(decode_segment(ConstBytes(good).first(length)));
  }
  EXPECT_FALSE(decode_segment(wire_of(Segment()))) << "frames without a byte";
  Segment acknowledge;
  acknowledge.type = SegmentType::kAcknowledge;
  EXPECT_FALSE(decode_segment(wire_of(acknowledge))) << "that acknowledges nothing";
  acknowledge.flags = kSegmentAcknowledges;
  EXPECT_TRUE(decode_segment(wire_of(acknowledge)));
}

class PackTest : public testing::Test {
 protected:
  static constexpr uint32_t kBounceKey = 5;
  Frame sealed(std::string_view front, std::initializer_list<std::string_view> data) {
    Frame frame = test_frame(3, front);
    for (const std::string_view part : data) frame.data.push_back(as_const_bytes(part));
    seal_frame(frame, true);
    return frame;
  }
  // All of the frames, as segments of these limits; each is checked against the limits.
  std::vector<std::byte> pack(const std::vector<Frame>& frames, const PackLimits& limits,
                              const KeyFinder* keys) {
    std::vector<std::byte> stream, bounce(limits.segment_bytes);
    std::size_t index = 0, offset = 0;
    while (index < frames.size()) {
      SegmentBuilder builder(limits, bounce, kBounceKey, keys);
      while (index < frames.size() && !builder.is_full()) {
        offset += builder.add(frames[index], offset);
        if (offset < frame_bytes(frames[index])) break;
        ++index;
        offset = 0;
      }
      const auto elements = builder.finish(Segment());
      EXPECT_LE(elements.size(), limits.max_elements);
      std::vector<std::byte> sent;
      for (const GatherElement& element : elements) {
        EXPECT_EQ(element.lkey,
                  element.data >= bounce.data() && element.data < bounce.data() + bounce.size()
                      ? kBounceKey
                      : 77u);
        sent.insert(sent.end(), element.data, element.data + element.length);
      }
      EXPECT_LE(sent.size(), limits.segment_bytes);
      EXPECT_EQ(sent.size(), sizeof(SegmentHeader) + builder.payload_bytes());
      const auto segment = decode_segment(sent);
      EXPECT_TRUE(segment);
      if (!segment) break;
      stream.insert(stream.end(), segment->payload.begin(), segment->payload.end());
      gathered += builder.gathered_bytes();
      ++segments;
    }
    return stream;
  }
  static std::vector<std::byte> wire(const std::vector<Frame>& frames) {
    std::vector<std::byte> out;
    const auto add = [&out](ConstBytes bytes) {
      out.insert(out.end(), bytes.begin(), bytes.end());
    };
    for (const Frame& frame : frames) {
      add({reinterpret_cast<const std::byte*>(&frame.header), sizeof frame.header});
      add(frame.front);
      for (const ConstBytes part : frame.data) add(part);
    }
    return out;
  }
  std::size_t gathered = 0;
  std::size_t segments = 0;
};

TEST_F(PackTest, SmallFramesShareASegment) {
  std::vector<Frame> frames;
  for (int i = 0; i < 50; ++i) frames.push_back(sealed("small", {}));
  EXPECT_EQ(pack(frames, {8192, 4, 256}, nullptr), wire(frames));
  EXPECT_EQ(segments, 1u);
}

TEST_F(PackTest, RegisteredPayloadIsGathered) {
  const std::string data = test_pattern(20'000, 1);
  const RegisteredRange registered(data);
  std::vector<Frame> frames;
  frames.push_back(sealed("front", {data}));
  EXPECT_EQ(pack(frames, {8192, 4, 256}, &registered), wire(frames));
  EXPECT_EQ(segments, 3u);
  EXPECT_EQ(gathered, data.size());
}

TEST_F(PackTest, ShortPiecesAndForeignOnesAreCopied) {
  const std::string data = test_pattern(10'000, 1);
  const std::string foreign = test_pattern(5'000, 2);
  const RegisteredRange registered(data);
  const std::string_view view(data);
  std::vector<Frame> frames;
  frames.push_back(sealed("a", {view.substr(0, 255), foreign, view.substr(255, 256)}));
  EXPECT_EQ(pack(frames, {65'000, 8, 256}, &registered), wire(frames));
  EXPECT_EQ(gathered, 256u);
}

TEST_F(PackTest, AFullGatherListIsFilledUpByCopies) {
  const std::string data = test_pattern(10'000, 1);
  const RegisteredRange registered(data);
  std::vector<Frame> frames;
  for (int i = 0; i < 6; ++i) {
    frames.push_back(sealed("f", {std::string_view(data).substr(0, 1000)}));
  }
  for (const uint32_t elements : {1u, 2u, 3u, 4u, 5u, 8u}) {
    SCOPED_TRACE(elements);
    EXPECT_EQ(pack(frames, {8192, elements, 256}, &registered), wire(frames));
  }
  EXPECT_GT(gathered, 0u);
}

TEST_F(PackTest, AnyCutGivesTheSameStream) {
  const std::string data = test_pattern(3'000, 1);
  const RegisteredRange registered(data);
  std::vector<Frame> frames;
  frames.push_back(sealed("", {}));
  frames.push_back(sealed(std::string(700, 'f'), {std::string_view(data).substr(0, 1),
                                                  std::string_view(data).substr(1, 2'500)}));
  frames.push_back(sealed("end", {data}));
  for (uint32_t bytes = 9; bytes < 600; bytes += 7) {
    SCOPED_TRACE(bytes);
    EXPECT_EQ(pack(frames, {bytes, 4, 16}, &registered), wire(frames));
  }
}

}  // namespace
}  // namespace lunar::msgr::rdma
