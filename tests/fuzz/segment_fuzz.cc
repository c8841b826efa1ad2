// SPDX-License-Identifier: LGPL-2.1-or-later
//
// With any segments of a peer the credits of both directions stay within their bounds, and the
// decoder of the frames in them stays within its memory. The input is a sequence of segments, each
// after its length (le16).

#include <cstring>
#include <string>
#include <vector>

#include "common/check.h"
#include "msgr/rdma/queue/ledger.h"
#include "msgr/rdma/queue/segment.h"
#include "msgr/wire/frame_decoder.h"
#include "tests/fuzz/fuzz.h"

namespace lunar::fuzz {
namespace {

using namespace msgr::rdma;  // NOLINT(google-build-using-namespace)
using msgr::Frame;
using msgr::FrameDecoder;

constexpr msgr::FrameLimits kLimits{4096, 16384};
constexpr uint32_t kBase = 4, kMost = 16;

void append(std::vector<std::byte>& out, const Segment& segment) {
  const SegmentHeader header = encode_header(segment);
  le16 length;
  length = static_cast<uint16_t>(sizeof header + segment.payload.size());
  const auto add = [&out](const void* data, std::size_t size) {
    const std::size_t at = out.size();
    out.resize(at + size);
    std::memcpy(out.data() + at, data, size);
  };
  add(&length, sizeof length);
  add(&header, sizeof header);
  if (!segment.payload.empty()) add(segment.payload.data(), segment.payload.size());
}

// False once the link would be lost.
bool decode_frames(FrameDecoder& decoder, std::vector<std::byte>& memory, ConstBytes in) {
  for (;;) {
    switch (decoder.feed(in)) {
      case FrameDecoder::DecodeEvent::kNeedBytes:
        return true;
      case FrameDecoder::DecodeEvent::kPayload:
        memory.assign(decoder.header().data_length.value(), std::byte{});
        decoder.place_payload(Bytes(memory));
        break;
      case FrameDecoder::DecodeEvent::kFrame:
        decoder.take_frame();
        break;
      case FrameDecoder::DecodeEvent::kError:
        return false;
    }
  }
}

}  // namespace

std::vector<std::vector<std::byte>> seeds() {
  Frame frame;
  frame.header.tag = static_cast<uint8_t>(msgr::FrameTag::kMessage);
  const std::string data(300, 'd');
  frame.data.push_back(as_const_bytes(data));
  seal_frame(frame, true);
  std::vector<std::byte> stream(sizeof frame.header + data.size());
  std::memcpy(stream.data(), &frame.header, sizeof frame.header);
  std::memcpy(stream.data() + sizeof frame.header, data.data(), data.size());
  std::vector<std::byte> out;
  Segment segment;
  segment.granted = 3;
  segment.payload = ConstBytes(stream).first(100);
  append(out, segment);
  segment.payload = ConstBytes(stream).subspan(100);
  append(out, segment);
  Segment credits;
  credits.type = SegmentType::kCredits;
  credits.granted = 2;
  append(out, credits);
  Segment bye;
  bye.type = SegmentType::kBye;
  append(out, bye);
  return {out};
}

void run_one(ConstBytes input) {
  CreditLedger ledger{SendCredits(kBase), ReceiveCredits(kBase, kMost), {}};
  FrameDecoder decoder(kLimits);
  std::vector<std::byte> memory;
  ByteReader reader(input);
  bool may_acknowledge = false;
  while (reader.remaining() > 0) {
    const auto length = reader.get<uint16_t>();
    const ConstBytes received = reader.get_bytes(length);
    if (!reader.ok()) return;
    // Of exactly that size, for the sanitizer.
    const std::vector<std::byte> copy(received.begin(), received.end());
    const auto segment = decode_segment(copy);
    if (!segment) return;
    std::vector<std::byte> again;
    append(again, *segment);
    LUNAR_CHECK(again.size() == copy.size() + 2 &&
                    std::memcmp(again.data() + 2, copy.data(), copy.size()) == 0,
                "a segment that no encoder makes");
    if (!ledger.take(*segment)) return;
    LUNAR_CHECK(ledger.receive.window() >= kBase && ledger.receive.window() <= kMost,
                "a window out of its bounds");
    LUNAR_CHECK(ledger.receive.outstanding() <= ledger.receive.window(), "more out than there is");
    LUNAR_CHECK(ledger.send.in_hand() <= UINT16_MAX, "more credits than a peer can mean");
    if (segment->type == SegmentType::kBye) return;
    if (segment->type != SegmentType::kFrames) continue;
    if (!decode_frames(decoder, memory, segment->payload)) return;
    ledger.receive.lend(ledger.receive.wants_to_lend());
    ledger.receive.on_reposted();
    if (ledger.receive.is_urgent()) {
      ledger.receive.take_grant();
      ledger.token.take_owed();
      if (ledger.token.is_here() && (may_acknowledge = !may_acknowledge)) ledger.token.sent();
    }
  }
}

}  // namespace lunar::fuzz
