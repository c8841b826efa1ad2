// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/sense.h"

#include "objecter/protocol/types.h"

namespace lunar::bstore_plugin {

using objecter::Errc;

Sense sense_of(const std::error_code& error, bool is_write, bool busy_on_timeout) noexcept {
  if (!error) return {};
  // Linux retries ABORTED COMMAND a few times and BUSY until its own timeout.
  const Sense try_again = busy_on_timeout ? Sense{ScsiStatus::kBusy, SenseKey::kNoSense, Asc::kNone}
                                          : check_condition(SenseKey::kAbortedCommand, Asc::kNone);
  const Sense medium_error = check_condition(
      SenseKey::kMediumError, is_write ? Asc::kWriteError : Asc::kUnrecoveredReadError);
  // Errors of the messenger and of sockets: no server could be asked.
  if (error.category() != objecter::osd_category()) return try_again;
  switch (static_cast<Errc>(error.value())) {
    case Errc::kOk:
      return {};
    case Errc::kNoSpace:
      return check_condition(SenseKey::kDataProtect, Asc::kSpaceAllocationFailed);
    case Errc::kMiscompare:
      return check_condition(SenseKey::kMiscompare, Asc::kMiscompareDuringVerify);
    case Errc::kTimedOut:
    case Errc::kUnreachable:
    case Errc::kStaleMap:
    case Errc::kRetryInline:
      return try_again;
    case Errc::kBusy:
    case Errc::kShutdown:
      return {ScsiStatus::kBusy, SenseKey::kNoSense, Asc::kNone};
    case Errc::kCancelled:
      return {ScsiStatus::kTaskAborted, SenseKey::kNoSense, Asc::kNone};
    case Errc::kFenced:
      return check_condition(SenseKey::kNotReady, Asc::kManualInterventionRequired);
    case Errc::kNoSuchPool:
    case Errc::kNoSuchObject:
    case Errc::kNoSuchAttribute:
    case Errc::kIncompatible:
      return check_condition(SenseKey::kNotReady, Asc::kNotReadyCauseNotReportable);
    case Errc::kReadOnly:
    case Errc::kNotPermitted:
      return check_condition(SenseKey::kDataProtect, Asc::kWriteProtected);
    case Errc::kInvalid:
    case Errc::kTooLarge:
      return check_condition(SenseKey::kIllegalRequest, Asc::kInvalidFieldInCdb);
    case Errc::kCorrupt:
      return check_condition(SenseKey::kMediumError, Asc::kUnrecoveredReadError);
    case Errc::kIoError:
      return medium_error;
    // Acknowledged data may be gone: the initiator must hear of it once, and not as something that
    // goes away by trying again.
    case Errc::kLostWrites:
      return check_condition(SenseKey::kMediumError, Asc::kWriteError);
    // May or may not have been applied: Linux does not retry HARDWARE ERROR.
    case Errc::kUnknownOutcome:
    case Errc::kVersionMismatch:
    case Errc::kExists:
      return check_condition(SenseKey::kHardwareError, Asc::kInternalTargetFailure);
  }
  return check_condition(SenseKey::kHardwareError, Asc::kInternalTargetFailure);
}

}  // namespace lunar::bstore_plugin
