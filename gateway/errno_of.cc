// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/errno_of.h"

#include <cerrno>

#include "msgr/errors.h"
#include "objecter/protocol/types.h"

namespace lunar::gateway {
namespace {

int errno_of_osd(objecter::Errc code) noexcept {
  using objecter::Errc;
  switch (code) {
    case Errc::kNoSuchObject:
    case Errc::kNoSuchPool:
      return ENOENT;
    case Errc::kNoSuchAttribute:
      return ENODATA;
    case Errc::kMiscompare:
      return EILSEQ;
    case Errc::kVersionMismatch:
      return ERANGE;
    case Errc::kNoSpace:
      return ENOSPC;
    case Errc::kInvalid:
      return EINVAL;
    case Errc::kTooLarge:
      return E2BIG;
    case Errc::kExists:
      return EEXIST;
    case Errc::kReadOnly:
      return EROFS;
    case Errc::kFenced:
      return ESHUTDOWN;
    case Errc::kTimedOut:
      return ETIMEDOUT;
    case Errc::kCancelled:
      return ECANCELED;
    case Errc::kShutdown:
      return ESHUTDOWN;
    case Errc::kNotPermitted:
      return EPERM;
    case Errc::kUnreachable:
      return EHOSTUNREACH;
    case Errc::kIncompatible:
      return EPROTONOSUPPORT;
    case Errc::kBusy:
      return EBUSY;
    case Errc::kStaleMap:
    case Errc::kRetryInline:
      return EAGAIN;
    case Errc::kOk:
    case Errc::kIoError:
    case Errc::kCorrupt:
    case Errc::kLostWrites:
    case Errc::kUnknownOutcome:
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
    return errno_of_osd(static_cast<objecter::Errc>(code.value()));
  }
  if (code == msgr::Errc::kAuthFailed) return EACCES;
  if (code == msgr::Errc::kTimedOut) return ETIMEDOUT;
  if (code.category() == msgr::msgr_category()) return ECONNRESET;
  return EIO;
}

}  // namespace lunar::gateway
