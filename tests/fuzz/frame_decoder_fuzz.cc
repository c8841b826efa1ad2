// SPDX-License-Identifier: LGPL-2.1-or-later
//
// With any input FrameDecoder stays within its memory and its limits, decodes the same no matter
// how the bytes are cut, and yields only frames that encode to the bytes that arrived.

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/check.h"
#include "msgr/wire/frame.h"
#include "msgr/wire/frame_decoder.h"
#include "tests/fuzz/fuzz.h"

namespace lunar::fuzz {
namespace {

using namespace msgr;  // NOLINT(google-build-using-namespace)
using Event = FrameDecoder::DecodeEvent;
using Input = std::vector<std::byte>;

constexpr FrameLimits kLimits{4096, 16384};

void append(Input& out, const Frame& frame) {
  const auto add = [&out](ConstBytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); };
  add({reinterpret_cast<const std::byte*>(&frame.header), sizeof frame.header});
  add(frame.front);
  for (const ConstBytes part : frame.data) add(part);
}

// The frames of one stream, back as bytes, and how it ended.
struct Decoded {
  Input bytes;
  std::error_code error;
};

// `cut` decides where the bytes are cut; 0: nowhere. The tid decides whether a payload is
// skipped, or which kind of memory it goes to.
Decoded decode(ConstBytes wire, unsigned cut) {
  static const std::unique_ptr<BufferPool> pool = make_heap_buffer_pool(1 << 20, 1 << 20);
  Decoded out;
  FrameDecoder decoder(kLimits);
  std::unique_ptr<std::byte[]> memory;
  unsigned state = cut;
  while (!wire.empty()) {
    state = state * 1103515245 + 12345;
    const std::size_t piece = cut == 0 ? wire.size() : 1 + (state >> 16) % 97;
    ConstBytes in = wire.first(std::min(piece, wire.size()));
    wire = wire.subspan(in.size());
    for (bool more = true; more;) {
      switch (decoder.feed(in)) {
        case Event::kNeedBytes:
          LUNAR_CHECK(in.empty(), "bytes left without an event");
          more = false;
          break;
        case Event::kPayload: {
          const uint32_t length = decoder.header().data_length.value();
          LUNAR_CHECK(length > 0 && length <= kLimits.max_data_bytes, "a length above the limit");
          const uint64_t tid = decoder.header().tid.value();
          if (tid % 3 == 1) {
            decoder.skip_payload();
          } else if (tid % 3 == 2) {
            decoder.place_payload(pool->allocate(length));
          } else {
            memory.reset(new std::byte[length]);  // exact, for the sanitizer
            decoder.place_payload(Bytes(memory.get(), length));
          }
          break;
        }
        case Event::kFrame: {
          ReceivedFrame received = decoder.take_frame();
          Frame again;
          again.header = received.header;
          again.front = std::move(received.front);
          if (!received.data.empty()) again.data.push_back(received.data);
          const bool crc = (received.header.flags & kFlagDataCrc) != 0;
          const bool plain = !crc || !received.data.empty();
          if (plain) seal_frame(again, crc);
          LUNAR_CHECK(std::memcmp(&again.header, &received.header, sizeof again.header) == 0,
                      "a frame that no encoder makes");
          append(out.bytes, again);
          break;
        }
        case Event::kError:
          LUNAR_CHECK(decoder.feed(in) == Event::kError, "back to life after an error");
          out.error = decoder.error();
          LUNAR_CHECK(static_cast<bool>(out.error), "an error without a reason");
          return out;
      }
    }
  }
  return out;
}

}  // namespace

std::vector<std::vector<std::byte>> seeds() {
  std::vector<Input> out;
  Input all;
  const std::string data(700, 'd');
  const auto add = [&](FrameTag tag, uint64_t tid, std::string_view front, std::string_view body,
                       bool crc) {
    Frame frame;
    frame.header.tag = static_cast<uint8_t>(tag);
    frame.header.tid = tid;
    const ConstBytes bytes = as_const_bytes(front);
    frame.front.assign(bytes.begin(), bytes.end());
    if (!body.empty()) frame.data.push_back(as_const_bytes(body));
    seal_frame(frame, crc);
    Input one;
    append(one, frame);
    all.insert(all.end(), one.begin(), one.end());
    out.push_back(std::move(one));
  };
  add(FrameTag::kHello, 0, "hello", "", false);
  add(FrameTag::kMessage, 0, "front", data, true);
  add(FrameTag::kMessage, 1, "", data, true);
  add(FrameTag::kMessage, 2, "front", data, false);
  add(FrameTag::kAck, 0, "", "", false);
  out.push_back(all);
  return out;
}

void run_one(ConstBytes wire) {
  const Decoded whole = decode(wire, 0);
  const Decoded pieces = decode(wire, static_cast<unsigned>(wire.size()) * 2654435761u | 1);
  LUNAR_CHECK(whole.bytes == pieces.bytes && whole.error == pieces.error,
              "where the bytes are cut made a difference");
}

}  // namespace lunar::fuzz
