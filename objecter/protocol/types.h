// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include "common/result.h"

namespace lunar::objecter {

using Tid = uint64_t;      // of an op, for its whole life; unique per client instance, from 1
using Epoch = uint64_t;    // version of the OSD map; 0 is no map
using PoolId = uint64_t;   // from 1, never reused
using OsdId = int32_t;     // from 0
using ImageId = uint64_t;  // scope of FLUSH; 0 is none

// The group an object hashes to.
struct PgId {
  PoolId pool = 0;
  uint32_t seed = 0;
  friend auto operator<=>(const PgId&, const PgId&) = default;
};

struct ObjectId {
  static constexpr std::size_t kMaxNameBytes = 200;
  PoolId pool = 0;
  std::string name;  // 1 … kMaxNameBytes bytes of [A-Za-z0-9._-]
  friend auto operator<=>(const ObjectId&, const ObjectId&) = default;
};
bool is_valid_object_name(std::string_view name) noexcept;

// Version of an object. Data objects: never equal across restarts of their server. Metadata objects
// (kOpMetadata): incarnation 0, durable, growing, surviving delete.
struct ObjectVersion {
  uint64_t incarnation = 0;
  uint64_t counter = 0;  // 0 with incarnation 0: the object does not exist and never did
  friend auto operator<=>(const ObjectVersion&, const ObjectVersion&) = default;
};

// What ends an op, on the wire as a number: never renumber.
enum class OsdErrc : int32_t {
  kOk = 0,
  kNoSuchObject = 1,
  kNoSuchPool = 2,
  kMiscompare = 3,       // CMPEXT; the sub-op's value is the offset of the first differing byte
  kVersionMismatch = 4,  // ASSERT_VERSION
  kNoSpace = 5,
  kIoError = 6,  // the store could not; the medium is at fault
  kCorrupt = 7,  // a checksum says the bytes are not what was stored or sent
  kInvalid = 8,  // an op that breaks a rule of docs/protocol.md
  kTooLarge = 9,
  kExists = 10,
  kReadOnly = 11,
  kFenced = 12,          // this client instance was fenced by a newer one or an operator
  kLostWrites = 13,      // FLUSH: acknowledged, unflushed writes of this image may be gone
  kStaleMap = 14,        // not this server's PG; get the epoch in the reply and resend
  kRetryInline = 15,     // send the data in the frame this time
  kUnknownOutcome = 16,  // may or may not have been applied, and cannot be repeated safely
  kTimedOut = 17,        // no answer within objecter_op_timeout; may have been applied
  kCancelled = 18,
  kNoSuchAttribute = 19,
  kShutdown = 20,
  kNotPermitted = 21,
  kUnreachable = 22,   // no server answered to bootstrap from
  kIncompatible = 23,  // a map or header version this build does not know
  kBusy = 24,
};

inline constexpr OsdErrc kLastErrc = OsdErrc::kBusy;
constexpr bool is_known_errc(int32_t value) noexcept {
  return value >= 0 && value <= static_cast<int32_t>(kLastErrc);
}

// message() is a clause for a person: "no space left in the pool".
const std::error_category& osd_category() noexcept;
inline std::error_code make_error_code(OsdErrc code) noexcept {
  return {static_cast<int>(code), osd_category()};
}

}  // namespace lunar::objecter

template <>
struct std::is_error_code_enum<lunar::objecter::OsdErrc> : std::true_type {};
