// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/errors.h"

#include <string>

namespace lunar::msgr {
namespace {

class MsgrCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "lunar.msgr"; }
  std::string message(int code) const override {
    switch (static_cast<MsgrErrc>(code)) {
      case MsgrErrc::kBadMagic:
        return "not a Lunar frame";
      case MsgrErrc::kBadTag:
        return "a frame that is unknown or not allowed now";
      case MsgrErrc::kBadFrame:
        return "a malformed frame";
      case MsgrErrc::kTooLong:
        return "a frame above the size limit";
      case MsgrErrc::kBadCrc:
        return "checksum mismatch";
      case MsgrErrc::kBadBanner:
        return "the peer does not speak Lunar's protocol";
      case MsgrErrc::kFeatureMismatch:
        return "the two sides have no version, feature or mode (ms_client_mode) in common";
      case MsgrErrc::kAuthFailed:
        return "authentication failed";
      case MsgrErrc::kSessionReset:
        return "the peer has forgotten the session";
      case MsgrErrc::kTimedOut:
        return "no sign of life from the peer";
      case MsgrErrc::kClosed:
        return "closed on this side";
      case MsgrErrc::kClosedByPeer:
        return "closed by the peer";
      case MsgrErrc::kConnectionRace:
        return "the connection from the other direction won";
      case MsgrErrc::kInjected:
        return "an injected fault";
      case MsgrErrc::kReplaced:
        return "a newer link took over the session";
      case MsgrErrc::kStaleKey:
        return "the key belongs to a link that is gone";
      case MsgrErrc::kBadRecord:
        return "a record of TLS does not verify: it was changed on its way";
      case MsgrErrc::kRenewed:
        return "a secure link is replaced by one with new keys";
      case MsgrErrc::kTooMany:
        return "the peer has as many sessions of this entity as it takes";
      case MsgrErrc::kKeyTakenBack:
        return "the link was dropped to take a remote key back";
    }
    return "error " + std::to_string(code);
  }
};

}  // namespace

const std::error_category& msgr_category() noexcept {
  static const MsgrCategory category;
  return category;
}

}  // namespace lunar::msgr
