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

// A placement group: the group an object hashes to, and with it all that goes to the same OSD.
// Shown as in Ceph, pool.seed, the seed in hexadecimal: 1.1f. A value, ordered by pool and seed.
struct PgId {
  PoolId pool = 0;    // 0: of no pool
  uint32_t seed = 0;  // below the pool's pg_num
  friend auto operator<=>(const PgId&, const PgId&) = default;
};

// The name of an object in the cluster. A value.
struct ObjectId {
  static constexpr std::size_t kMaxNameBytes = 200;
  PoolId pool = 0;
  std::string name;  // 1 … kMaxNameBytes bytes of [A-Za-z0-9._-]
  friend auto operator<=>(const ObjectId&, const ObjectId&) = default;
};
// The rule for names of objects, of attributes and of pools, and for cursors. Pure.
bool is_valid_object_name(std::string_view name) noexcept;

// Version of an object. Data objects: never equal across restarts of their server. Metadata objects
// (kOpMetadata): incarnation 0, durable, growing, surviving delete.
struct ObjectVersion {
  uint64_t incarnation = 0;  // which start of the server's store made it
  uint64_t counter = 0;      // 0 with incarnation 0: the object does not exist and never did
  friend auto operator<=>(const ObjectVersion&, const ObjectVersion&) = default;
};

// The errors of ops, maps and commands, on the wire as a number: never renumber. What a server says
// and what the Objecter finds are told apart by the number alone; docs/errors.md says what becomes
// of each.
enum class OsdErrc : int32_t {
  kOk = 0,
  kNoSuchObject = 1,
  kNoSuchPool = 2,        // and the newest map does not have it either
  kMiscompare = 3,        // CMPEXT; the sub-op's value is the offset of the first differing byte
  kVersionMismatch = 4,   // ASSERT_VERSION
  kNoSpace = 5,           // of the store's file system, or a limit of its own
  kIoError = 6,           // the store could not; the medium is at fault
  kCorrupt = 7,           // a checksum says the bytes are not what was stored or sent
  kInvalid = 8,           // an op that breaks a rule of docs/protocol.md
  kTooLarge = 9,          // more than a frame, an object or a reply may hold
  kExists = 10,           // what was to be made is there already
  kReadOnly = 11,         // the store takes no changes any more
  kFenced = 12,           // this client instance was fenced by a newer one or an operator
  kLostWrites = 13,       // FLUSH: acknowledged, unflushed writes of this image may be gone
  kStaleMap = 14,         // not this server's PG; get the epoch in the reply and resend
  kRetryInline = 15,      // send the data in the frame this time
  kUnknownOutcome = 16,   // may or may not have been applied, and cannot be repeated safely
  kTimedOut = 17,         // no answer within objecter_op_timeout; may have been applied
  kCancelled = 18,        // by Objecter::cancel()
  kNoSuchAttribute = 19,  // the object exists, its attribute does not
  kShutdown = 20,         // one end is shutting down; not executed, or not known to be
  kNotPermitted = 21,     // the entity is not allowed to do this: it lacks the key or the right
  kUnreachable = 22,      // no server answered to bootstrap from
  kIncompatible = 23,     // a map or header version this build does not know
  kBusy = 24,             // not now; the same again later may succeed
  kWatchLost = 25,        // the server has no such watch (any more): it expired
};

// Numbers above are of a newer peer: a decoder refuses them.
inline constexpr OsdErrc kLastErrc = OsdErrc::kWatchLost;
constexpr bool is_known_errc(int32_t value) noexcept {
  return value >= 0 && value <= static_cast<int32_t>(kLastErrc);
}

// The category of OsdErrc. message() is a clause for a person: "no space left in the pool".
const std::error_category& osd_category() noexcept;
inline std::error_code make_error_code(OsdErrc code) noexcept {
  return {static_cast<int>(code), osd_category()};
}

}  // namespace lunar::objecter

template <>
struct std::is_error_code_enum<lunar::objecter::OsdErrc> : std::true_type {};
