// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/wire/frame_decoder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "msgr/errors.h"

namespace lunar::msgr {
namespace {

using Event = FrameDecoder::DecodeEvent;
using Wire = std::vector<std::byte>;

void append_frame(Wire& wire, uint64_t tid, std::string_view front, std::string_view data,
                  bool crc = true) {
  Frame frame;
  frame.header.tag = static_cast<uint8_t>(FrameTag::kMessage);
  frame.header.tid = tid;
  const ConstBytes front_bytes = as_const_bytes(front);
  frame.front.assign(front_bytes.begin(), front_bytes.end());
  if (!data.empty()) frame.data.push_back(as_const_bytes(data));
  seal_frame(frame, crc);
  const auto* header = reinterpret_cast<const std::byte*>(&frame.header);
  wire.insert(wire.end(), header, header + sizeof frame.header);
  wire.insert(wire.end(), frame.front.begin(), frame.front.end());
  for (const std::byte byte : as_const_bytes(data)) wire.push_back(byte);
}

std::string pattern(std::size_t length, int seed) {
  std::string out(length, '\0');
  std::minstd_rand random(static_cast<unsigned>(seed + 1));
  for (auto& c : out) c = static_cast<char>(random());
  return out;
}

// Feeds bytes in portions and keeps the frames as "tid:front:data".
struct Sink {
  explicit Sink(const FrameLimits& limits = {}) : decoder(limits) {}
  // False on an error.
  bool feed(ConstBytes in) {
    for (;;) {
      switch (decoder.feed(in)) {
        case Event::kNeedBytes:
          EXPECT_TRUE(in.empty());
          return true;
        case Event::kPayload:
          memory.assign(decoder.header().data_length.value(), std::byte{0});
          decoder.place_payload(Bytes(memory));
          break;
        case Event::kFrame: {
          const ReceivedFrame frame = decoder.take_frame();
          EXPECT_FALSE(frame.buffer);
          frames.push_back(std::to_string(frame.header.tid.value()) + ":" +
                           std::string(as_text(frame.front)) + ":" +
                           std::string(as_text(frame.data)));
          break;
        }
        case Event::kError:
          return false;
      }
    }
  }
  FrameDecoder decoder;
  std::vector<std::byte> memory;
  std::vector<std::string> frames;
};

class FrameDecoderTest : public testing::Test {
 protected:
  FrameDecoderTest() {
    append_frame(wire_, 1, "front", "");
    append_frame(wire_, 2, "", "");
    append_frame(wire_, 3, "", std::string(300, 'd'));
    append_frame(wire_, 4, "f", "data", false);
    for (const char* text : {"1:front:", "2::", "4:f:data"}) expected_.emplace_back(text);
    expected_.insert(expected_.begin() + 2, "3::" + std::string(300, 'd'));
  }
  Wire wire_;
  std::vector<std::string> expected_;
};

TEST_F(FrameDecoderTest, DecodesAllAtOnce) {
  Sink sink;
  EXPECT_TRUE(sink.feed(wire_));
  EXPECT_EQ(sink.frames, expected_);
  EXPECT_TRUE(sink.decoder.is_at_boundary());
}

TEST_F(FrameDecoderTest, DecodesByteByByte) {
  Sink sink;
  for (std::size_t i = 0; i < wire_.size(); ++i)
    ASSERT_TRUE(sink.feed(ConstBytes(wire_).subspan(i, 1)));
  EXPECT_EQ(sink.frames, expected_);
}

TEST_F(FrameDecoderTest, DecodesWhereverTheInputIsCut) {
  for (std::size_t cut = 0; cut <= wire_.size(); ++cut) {
    Sink sink;
    ASSERT_TRUE(sink.feed(ConstBytes(wire_).first(cut)));
    ASSERT_TRUE(sink.feed(ConstBytes(wire_).subspan(cut)));
    ASSERT_EQ(sink.frames, expected_) << "cut at " << cut;
  }
}

TEST_F(FrameDecoderTest, TakesAPayloadThatWasReceivedInPlace) {
  const std::string data = pattern(10'000, 1);
  Wire wire;
  append_frame(wire, 9, "front", data);
  FrameDecoder decoder{FrameLimits()};
  ConstBytes in = ConstBytes(wire).first(64 + 5 + 100);
  ASSERT_EQ(decoder.feed(in), Event::kPayload);
  EXPECT_EQ(in.size(), 100u) << "nothing of the payload is used before it has a place";
  EXPECT_TRUE(decoder.awaits_placement());
  EXPECT_EQ(as_text(decoder.front()), "front");
  std::vector<std::byte> memory(data.size());
  decoder.place_payload(Bytes(memory));
  EXPECT_TRUE(decoder.fills_borrowed());
  ASSERT_EQ(decoder.feed(in), Event::kNeedBytes);
  const Bytes rest = decoder.payload_target();
  ASSERT_EQ(rest.data(), memory.data() + 100);
  ASSERT_EQ(rest.size(), data.size() - 100);
  std::memcpy(rest.data(), data.data() + 100, 5000);
  ASSERT_EQ(decoder.payload_received(5000), Event::kNeedBytes);
  std::memcpy(decoder.payload_target().data(), data.data() + 5100, data.size() - 5100);
  ASSERT_EQ(decoder.payload_received(data.size() - 5100), Event::kFrame);
  const ReceivedFrame frame = decoder.take_frame();
  EXPECT_EQ(frame.data.data(), memory.data());
  EXPECT_EQ(as_text(frame.data), data);
}

TEST_F(FrameDecoderTest, KeepsABufferOfThePoolWithTheFrame) {
  const auto pool = make_heap_buffer_pool(1 << 20, 0);
  Wire wire;
  append_frame(wire, 9, "", "payload");
  FrameDecoder decoder{FrameLimits()};
  ConstBytes in = wire;
  ASSERT_EQ(decoder.feed(in), Event::kPayload);
  decoder.place_payload(pool->allocate(7));
  EXPECT_FALSE(decoder.fills_borrowed());
  ASSERT_EQ(decoder.feed(in), Event::kFrame);
  {
    const ReceivedFrame frame = decoder.take_frame();
    EXPECT_EQ(as_text(frame.data), "payload");
    EXPECT_EQ(frame.data.data(), frame.buffer.bytes().data());
  }
  EXPECT_EQ(pool->bytes_in_use(), 0u);
}

TEST_F(FrameDecoderTest, ASkippedPayloadDropsItsFrameOnlyAndTouchesNoMemory) {
  for (const std::size_t before : {0u, 1u, 150u, 299u}) {
    Wire wire;
    append_frame(wire, 1, "a", std::string(300, 'x'));
    append_frame(wire, 2, "b", "");
    FrameDecoder decoder{FrameLimits()};
    std::vector<std::byte> memory(300);
    ConstBytes in = ConstBytes(wire).first(64 + 1 + before);
    ASSERT_EQ(decoder.feed(in), Event::kPayload);
    decoder.place_payload(Bytes(memory));
    ASSERT_EQ(decoder.feed(in), Event::kNeedBytes);
    decoder.skip_payload();
    EXPECT_TRUE(decoder.payload_target().empty());
    EXPECT_FALSE(decoder.fills_borrowed());
    std::fill(memory.begin(), memory.end(), std::byte{0});
    in = ConstBytes(wire).subspan(64 + 1 + before);
    ASSERT_EQ(decoder.feed(in), Event::kFrame);
    EXPECT_EQ(decoder.take_frame().header.tid.value(), 2u);
    EXPECT_EQ(memory, std::vector<std::byte>(300));
  }
}

TEST_F(FrameDecoderTest, APayloadMayBeSkippedInsteadOfPlaced) {
  Wire wire;
  append_frame(wire, 1, "", "data");
  append_frame(wire, 2, "", "");
  FrameDecoder decoder{FrameLimits()};
  ConstBytes in = wire;
  ASSERT_EQ(decoder.feed(in), Event::kPayload);
  decoder.skip_payload();
  ASSERT_EQ(decoder.feed(in), Event::kFrame);
  EXPECT_EQ(decoder.take_frame().header.tid.value(), 2u);
}

struct Damage {
  std::size_t offset;
  MsgrErrc expected;
};
class FrameDecoderErrorTest : public testing::TestWithParam<Damage> {};

TEST_P(FrameDecoderErrorTest, IsNoticedAndTheStreamIsLostForGood) {
  Wire wire;
  append_frame(wire, 1, "front", "data");
  append_frame(wire, 2, "", "");
  wire[GetParam().offset] ^= std::byte{0x40};
  for (const bool bytewise : {false, true}) {
    Sink sink;
    bool ok = true;
    for (std::size_t i = 0; ok && bytewise && i < wire.size(); ++i) {
      ok = sink.feed(ConstBytes(wire).subspan(i, 1));
    }
    if (!bytewise) ok = sink.feed(wire);
    EXPECT_FALSE(ok);
    EXPECT_EQ(sink.decoder.error(), GetParam().expected);
    EXPECT_TRUE(sink.frames.empty());
    EXPECT_FALSE(sink.feed(wire)) << "a later feed() must not come back to life";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Each, FrameDecoderErrorTest,
    testing::Values(Damage{0, MsgrErrc::kBadMagic}, Damage{4, MsgrErrc::kBadTag},
                    Damage{5, MsgrErrc::kBadFrame}, Damage{7, MsgrErrc::kBadFrame},
                    Damage{15, MsgrErrc::kTooLong}, Damage{19, MsgrErrc::kTooLong},
                    Damage{40, MsgrErrc::kBadCrc}, Damage{60, MsgrErrc::kBadCrc},
                    Damage{64, MsgrErrc::kBadCrc}, Damage{69, MsgrErrc::kBadCrc},
                    Damage{72, MsgrErrc::kBadCrc}));

TEST(FrameDecoderLimitTest, AFrontTakesMemoryAsItArrives) {
  Wire wire;
  const std::string front(100'000, 'f');
  append_frame(wire, 1, front, "");
  Sink sink;
  EXPECT_TRUE(sink.feed(ConstBytes(wire).first(64)));
  EXPECT_LE(sink.decoder.front().size(), 4096u);
  EXPECT_TRUE(sink.feed(ConstBytes(wire).subspan(64, 5000)));
  EXPECT_LE(sink.decoder.front().size(), 10'000u);
  EXPECT_TRUE(sink.feed(ConstBytes(wire).subspan(5064)));
  ASSERT_EQ(sink.frames.size(), 1u);
  EXPECT_EQ(sink.frames[0], "1:" + front + ":");
}

TEST(FrameDecoderLimitTest, AHandlerMayTakeLess) {
  Wire wire;
  append_frame(wire, 1, std::string(11, 'f'), "");
  Sink sink;
  sink.decoder.set_max_front(10);
  EXPECT_FALSE(sink.feed(ConstBytes(wire).first(64)));
  EXPECT_EQ(sink.decoder.error(), MsgrErrc::kTooLong);
}

TEST(FrameDecoderLimitTest, ALengthAboveTheLimitIsRefusedBeforeAnythingIsAllocated) {
  FrameLimits limits;
  limits.max_front_bytes = 10;
  limits.max_data_bytes = 20;
  Wire wire;
  append_frame(wire, 1, std::string(11, 'f'), "");
  Sink sink(limits);
  EXPECT_FALSE(sink.feed(ConstBytes(wire).first(64)));
  EXPECT_EQ(sink.decoder.error(), MsgrErrc::kTooLong);

  wire.clear();
  append_frame(wire, 1, std::string(10, 'f'), std::string(20, 'd'));
  Sink fits(limits);
  EXPECT_TRUE(fits.feed(wire));
  EXPECT_EQ(fits.frames.size(), 1u);
}

TEST(FrameDecoderRandomTest, RandomCutsOfRandomFramesGiveThemAllInOrder) {
  std::mt19937 random(11);
  for (int round = 0; round < 50; ++round) {
    Wire wire;
    std::vector<std::string> expected;
    for (uint64_t tid = 0; tid < 20; ++tid) {
      const std::string front = pattern(random() % 200, static_cast<int>(random() % 100));
      const std::string data = pattern(random() % 3000, static_cast<int>(random() % 100));
      append_frame(wire, tid, front, data, random() % 2 == 0);
      expected.push_back(std::to_string(tid) + ":" + front + ":" + data);
    }
    Sink sink;
    for (std::size_t at = 0; at < wire.size();) {
      const std::size_t take = std::min<std::size_t>(random() % 500, wire.size() - at);
      ASSERT_TRUE(sink.feed(ConstBytes(wire).subspan(at, take)));
      at += take;
    }
    ASSERT_EQ(sink.frames, expected);
  }
}

}  // namespace
}  // namespace lunar::msgr
