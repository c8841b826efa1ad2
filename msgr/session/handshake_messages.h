// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "common/peer_name.h"
#include "common/result.h"
#include "msgr/address.h"
#include "msgr/errors.h"

namespace lunar::msgr {

// The fronts of handshake and session-control frames, docs/protocol.md §3–§5: plain values.
// Every decode() takes bytes from the network, checks all of them and gives kBadFrame for anything
// it does not like; encode() of a value within its limits always decodes.

inline constexpr uint16_t kProtocolVersion = 1;
inline constexpr uint16_t kOldestProtocolVersion = 1;

// Feature bits. A peer that requires one the other lacks ends the handshake.
inline constexpr uint64_t kFeatureSessions = 1u << 0;  // sequence numbers, acks, replay
inline constexpr uint64_t kFeatureOneSided = 1u << 1;  // delivery descriptors
inline constexpr uint64_t kFeatureSecure = 1u << 2;  // TLS after the hellos; required: nothing else
inline constexpr uint64_t kFeatureRdma = 1u << 3;    // carrying a session over to RDMA
inline constexpr uint64_t kFeatureStores = 1u << 4;  // SERVER_HELLO and OSD_BOOT name the store
inline constexpr uint64_t kFeatureWatches = 1u << 5;        // WATCH and NOTIFY
inline constexpr uint64_t kFeatureMoves = 1u << 6;          // PGs that move between servers
inline constexpr uint64_t kFeaturePrefersSecure = 1u << 8;  // of a connector that takes both
inline constexpr uint64_t kFeaturePairKeys = 1u << 9;       // proofs by keys of two entities
inline constexpr uint64_t kFeaturePoolIds = 1u << 10;       // OSD_BOOT names next_pool_id
inline constexpr uint64_t kFeaturesSupported = kFeatureSessions | kFeatureOneSided |
                                               kFeatureStores | kFeatureWatches | kFeatureMoves |
                                               kFeaturePairKeys | kFeaturePoolIds;
inline constexpr uint64_t kFeaturesRequired = kFeatureSessions | kFeatureStores;

inline constexpr std::size_t kMaxSentenceBytes = 512;

// 128 random bits that name one side's half of a session. Never zero.
struct Cookie {
  uint64_t high = 0;
  uint64_t low = 0;
  static Cookie random() noexcept;
  bool is_zero() const noexcept { return high == 0 && low == 0; }
  friend auto operator<=>(const Cookie&, const Cookie&) = default;
};

using Challenge = std::array<std::byte, 32>;
using Proof = std::array<std::byte, 32>;  // HMAC-SHA256

// First frame of each side.
struct Hello {
  uint16_t version = kProtocolVersion;
  uint16_t oldest_version = kOldestProtocolVersion;
  uint64_t features_supported = kFeaturesSupported;
  uint64_t features_required = kFeaturesRequired;
  bool auth_required = false;
  std::string entity;
  std::string instance;
  uint64_t nonce = 0;
  Address listening;  // where the sender accepts connections; unset if it does not

  std::vector<std::byte> encode() const;
  static Result<Hello> decode(ConstBytes front);
};

struct AuthChallenge {
  static constexpr uint8_t kHmacSha256 = 1;
  Challenge challenge{};
  std::vector<std::byte> encode() const;
  static Result<AuthChallenge> decode(ConstBytes front);
};

struct AuthProof {
  Challenge challenge{};  // the client's own
  Proof proof{};
  std::vector<std::byte> encode() const;
  static Result<AuthProof> decode(ConstBytes front);
};

struct AuthDone {
  Proof proof{};
  std::vector<std::byte> encode() const;
  static Result<AuthDone> decode(ConstBytes front);
};

// Links of a session, counted. No session has so many: a number above is made up, to make it wrap.
inline constexpr uint64_t kMaxGeneration = uint64_t{1} << 48;

// What the connecting side wants: a new session (peer_cookie zero), or to go on with one.
struct SessionRequest {
  Cookie cookie;              // the sender's
  Cookie peer_cookie;         // the receiver's, as the sender knows it; zero in kSessionNew
  uint64_t generation = 0;    // links this session has had, as far as the sender knows
  uint64_t in_seq = 0;        // highest sequence number received in order; 0 in kSessionNew
  bool lossy = false;         // the sender will not come back after a lost link
  bool peer_to_peer = false;  // kLosslessPeer: either side may connect

  bool is_new() const noexcept { return peer_cookie.is_zero(); }
  std::vector<std::byte> encode() const;
  // `is_reconnect` is whether the tag was kSessionReconnect.
  static Result<SessionRequest> decode(bool is_reconnect, ConstBytes front);
};

struct SessionReady {
  Cookie cookie;            // the accepting side's
  uint64_t generation = 0;  // of the link that this frame opens, for both sides
  uint64_t in_seq = 0;
  bool lossy = false;  // the session ends with this link, on either side's wish
  std::vector<std::byte> encode() const;
  static Result<SessionReady> decode(ConstBytes front);
};

enum class RetryReason : uint8_t {
  kStaleGeneration = 1,  // ask again on this link, with the generation given
  kLostRace = 2,         // the other side's own connect goes on; wait for it, or connect later
};
struct SessionRetry {
  RetryReason reason = RetryReason::kLostRace;
  uint64_t generation = 0;
  std::vector<std::byte> encode() const;
  static Result<SessionRetry> decode(ConstBytes front);
};

// Why one side ends a handshake, in a number for programs and a sentence for people.
enum class HandshakeFault : uint32_t {
  kProtocol = 1,         // a frame that does not belong here, or does not parse
  kFeatureMismatch = 2,  // version or feature bits
  kAuthFailed = 3,
  kShuttingDown = 4,
  kTooMany = 5,  // sessions of this entity
};
struct HandshakeError {
  HandshakeFault fault = HandshakeFault::kProtocol;
  std::string sentence;  // what came from a peer is made printable by decode()
  std::vector<std::byte> encode() const;
  static Result<HandshakeError> decode(ConstBytes front);
};

// kKeepalive and kKeepaliveAck. Nanoseconds since the Unix epoch, of the clock of who stamped it.
struct Keepalive {
  uint64_t sent = 0;
  std::vector<std::byte> encode() const;
  static Result<Keepalive> decode(ConstBytes front);
};
struct KeepaliveAck {
  uint64_t sent = 0;      // of the kKeepalive it answers
  uint64_t received = 0;  // when that arrived
  uint64_t answered = 0;
  std::vector<std::byte> encode() const;
  static Result<KeepaliveAck> decode(ConstBytes front);
};

MsgrErrc to_errc(HandshakeFault fault) noexcept;
HandshakeFault to_fault(std::error_code error) noexcept;

}  // namespace lunar::msgr
