// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <system_error>

namespace lunar::msgr {

// Errors of this layer. Those of sockets keep std::system_category.
enum class MsgrErrc {
  kBadMagic = 1,     // not a Lunar frame
  kBadTag,           // a tag that is unknown, or not allowed now
  kBadFrame,         // reserved bits set, or contents that do not parse
  kTooLong,          // a length above the limit
  kBadCrc,           // damaged on the way
  kBadBanner,        // the peer does not speak this protocol
  kFeatureMismatch,  // one side requires what the other lacks
  kAuthFailed,       // wrong key, unknown entity, or none where one is required
  kSessionReset,     // the peer forgot the session; everything unanswered on it is lost
  kTimedOut,         // no sign of life within the keepalive or handshake timeout
  kClosed,           // closed on this side
  kClosedByPeer,     // orderly end by the peer
  kConnectionRace,   // the other direction's connection won
  kInjected,         // ms_inject_*
  kReplaced,         // a newer link took over the session
  kStaleKey,         // a key of a link that is not up any more
  kKeyTakenBack,     // the link was dropped because that alone takes a key back
  kBadRecord,        // a record of TLS does not verify: it was changed on the way
  kRenewed,          // a secure link has carried enough for one set of keys
  kTooMany,          // the peer has as many sessions of this entity as it takes
};

const std::error_category& msgr_category() noexcept;
inline std::error_code make_error_code(MsgrErrc code) noexcept {
  return {static_cast<int>(code), msgr_category()};
}

}  // namespace lunar::msgr

template <>
struct std::is_error_code_enum<lunar::msgr::MsgrErrc> : std::true_type {};
