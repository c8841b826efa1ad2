// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/errno_of.h"

#include <cerrno>

#include "msgr/errors.h"
#include "objecter/protocol/types.h"

namespace lunar::gateway {
namespace {

int errno_of_osd(objecter::OsdErrc code) noexcept {
  using objecter::OsdErrc;
  switch (code) {
    case OsdErrc::kNoSuchObject:
    case OsdErrc::kNoSuchPool:
      return ENOENT;
    case OsdErrc::kNoSuchAttribute:
      return ENODATA;
    case OsdErrc::kMiscompare:
      return EILSEQ;
    case OsdErrc::kVersionMismatch:
      return ERANGE;
    case OsdErrc::kNoSpace:
      return ENOSPC;
    case OsdErrc::kInvalid:
      return EINVAL;
    case OsdErrc::kTooLarge:
      return E2BIG;
    case OsdErrc::kExists:
      return EEXIST;
    case OsdErrc::kReadOnly:
      return EROFS;
    case OsdErrc::kFenced:
      return ESHUTDOWN;
    case OsdErrc::kTimedOut:
      return ETIMEDOUT;
    case OsdErrc::kCancelled:
      return ECANCELED;
    case OsdErrc::kShutdown:
      return ESHUTDOWN;
    case OsdErrc::kNotPermitted:
      return EPERM;
    case OsdErrc::kUnreachable:
      return EHOSTUNREACH;
    case OsdErrc::kIncompatible:
      return EPROTONOSUPPORT;
    case OsdErrc::kBusy:
      return EBUSY;
    case OsdErrc::kWatchLost:
      return ENOTCONN;
    case OsdErrc::kStaleMap:
    case OsdErrc::kRetryInline:
      return EAGAIN;
    case OsdErrc::kOk:
    case OsdErrc::kIoError:
    case OsdErrc::kCorrupt:
    case OsdErrc::kLostWrites:
    case OsdErrc::kUnknownOutcome:
      return EIO;
  }
  return EIO;
}

}  // namespace

int errno_of(const std::error_code& code) noexcept {
  const bool is_errno =
      code.category() == std::system_category() || code.category() == std::generic_category();
  if (is_errno && code.value() > 0) return code.value();
  if (code.category() == objecter::osd_category()) {
    return errno_of_osd(static_cast<objecter::OsdErrc>(code.value()));
  }
  if (code == msgr::MsgrErrc::kAuthFailed) return EACCES;
  if (code == msgr::MsgrErrc::kFeatureMismatch) return EPROTONOSUPPORT;
  if (code == msgr::MsgrErrc::kTimedOut) return ETIMEDOUT;
  if (code.category() == msgr::msgr_category()) return ECONNRESET;
  return EIO;
}

}  // namespace lunar::gateway
