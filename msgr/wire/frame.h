// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "msgr/buffer.h"

namespace lunar::msgr {

// Every frame: this header, then `front_length` bytes of front, then `data_length` bytes of data.
// Little-endian. header_crc is crc32c over the header up to itself, then the front; data_crc is
// crc32c over the data, when the flag says so. Layout and limits: docs/protocol.md §2.
struct FrameHeader {
  le32 magic;         // kFrameMagic
  uint8_t tag;        // FrameTag
  uint8_t flags;      // FrameFlag bits; unknown bits are an error
  uint8_t priority;   // of a message; higher goes first among what is queued
  uint8_t reserved0;  // zero
  le16 message_type;  // of a message, else 0
  le16 credits;       // receive buffers granted to the peer; 0 on stream transports
  le32 front_length;  // bytes
  le32 data_length;   // bytes; 0 if the data moves by RemoteKey
  le32 data_crc;      // 0 without kFlagDataCrc
  le64 seq;           // of the session, from 1, for kMessage and kVoid; 0 for others
  le64 ack_seq;       // highest seq received in order
  le64 tid;           // of the op it belongs to, 0 if none
  le64 trace_id;      // io_id of the IO it serves, 0 if none
  le32 reserved1;     // zero
  le32 header_crc;
};
static_assert(sizeof(FrameHeader) == 64);

inline constexpr uint32_t kFrameMagic = 0x31524e4c;  // "LNR1"

enum class FrameTag : uint8_t {
  // Handshake, in this order; none after kSessionReady or kSessionReset.
  kHello = 1,
  kAuthChallenge = 2,
  kAuthProof = 3,
  kAuthDone = 4,
  kSessionNew = 5,
  kSessionReconnect = 6,
  kSessionReady = 7,
  kSessionReset = 8,     // the server does not know the cookie: start anew
  kSessionRetry = 9,     // lost a connection race, or the old link is still being torn down
  kHandshakeError = 10,  // a code and a sentence; the link closes after it
  // Between authentication and session request, if both have kFeatureRdma.
  kRdmaOffer = 11,
  kRdmaAnswer = 12,
  kRdmaProbe = 13,  // over the new link, both ways
  // A session's life.
  kMessage = 16,
  kVoid = 17,  // stands for a withdrawn message: carries its seq and nothing else
  kAck = 18,
  kKeepalive = 19,
  kKeepaliveAck = 20,
  kClose = 21,  // orderly end of the session
};

enum FrameFlag : uint8_t { kFlagDataCrc = 1 };

// What a peer may make us allocate. Defaults: ms_max_front_bytes, ms_max_data_bytes.
struct FrameLimits {
  uint32_t max_front_bytes = 1u << 20;
  uint32_t max_data_bytes = 64u << 20;
  bool operator==(const FrameLimits&) const = default;
};

// Bytes to send, borrowed, in order.
using ConstBuffers = boost::container::small_vector<ConstBytes, 4>;

// A frame to send. The link fills in lengths and crcs. Owns the front, borrows the data.
struct Frame {
  FrameHeader header{};
  std::vector<std::byte> front;
  ConstBuffers data;
};

// A frame that arrived. `data` is either where LinkHandler::payload_for() said, or inside `buffer`.
struct ReceivedFrame {
  FrameHeader header{};
  std::vector<std::byte> front;
  Bytes data;
  RegisteredBuffer buffer;
  std::size_t copied_bytes = 0;  // of the data, by the CPU on its way into its place
};

// Writes magic, lengths, data_crc (if `has_data_crc`) and header_crc into frame.header.
void seal_frame(Frame& frame, bool has_data_crc);

// Checks magic, tag, flags, reserved fields and limits: what can be told before the front is here.
// Errors: kBadMagic, kBadTag, kBadFrame, kTooLong. All mean the stream is lost.
std::error_code check_frame_header(const FrameHeader& header, const FrameLimits& limits);
// kBadCrc if header and front are not what was sent.
std::error_code check_header_crc(const FrameHeader& header, ConstBytes front);
// kBadCrc if the data is not what was sent; success if the frame carries no data crc.
std::error_code check_data_crc(const FrameHeader& header, ConstBytes data);

}  // namespace lunar::msgr
