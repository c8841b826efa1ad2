// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/errors.h"

#include <string>

namespace lunar::msgr {
namespace {

class MsgrCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "lunar.msgr"; }
  std::string message(int code) const override {
    switch (static_cast<Errc>(code)) {
      case Errc::kBadMagic:
        return "not a Lunar frame";
      case Errc::kBadTag:
        return "a frame that is unknown or not allowed now";
      case Errc::kBadFrame:
        return "a malformed frame";
      case Errc::kTooLong:
        return "a frame above the size limit";
      case Errc::kBadCrc:
        return "checksum mismatch";
      case Errc::kBadBanner:
        return "the peer does not speak Lunar's protocol";
      case Errc::kFeatureMismatch:
        return "the peer lacks a required feature, or requires one this side lacks";
      case Errc::kAuthFailed:
        return "authentication failed";
      case Errc::kSessionReset:
        return "the peer has forgotten the session";
      case Errc::kTimedOut:
        return "no sign of life from the peer";
      case Errc::kClosed:
        return "closed on this side";
      case Errc::kClosedByPeer:
        return "closed by the peer";
      case Errc::kConnectionRace:
        return "the connection from the other direction won";
      case Errc::kInjected:
        return "an injected fault";
      case Errc::kReplaced:
        return "a newer link took over the session";
      case Errc::kStaleKey:
        return "the key belongs to a link that is gone";
      case Errc::kKeyTakenBack:
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
