// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/scsi/sense.h"

#include "objecter/protocol/types.h"

namespace lunar::bstore_plugin {

using objecter::OsdErrc;

bool is_unanswered(const std::error_code& error) noexcept {
  if (!error) return false;
  // Errors of the messenger and of sockets: no server could be asked.
  if (error.category() != objecter::osd_category()) return true;
  const auto code = static_cast<OsdErrc>(error.value());
  return code == OsdErrc::kTimedOut || code == OsdErrc::kUnreachable ||
         code == OsdErrc::kStaleMap || code == OsdErrc::kRetryInline;
}

Sense sense_of(const std::error_code& error, bool is_write, bool is_busy_on_timeout) noexcept {
  if (!error) return {};
  // Linux retries ABORTED COMMAND a few times and BUSY until its own timeout.
  const Sense try_again = is_busy_on_timeout
                              ? Sense{ScsiStatus::kBusy, SenseKey::kNoSense, Asc::kNone}
                              : check_condition(SenseKey::kAbortedCommand, Asc::kNone);
  const Sense medium_error = check_condition(
      SenseKey::kMediumError, is_write ? Asc::kWriteError : Asc::kUnrecoveredReadError);
  if (is_unanswered(error)) return try_again;
  switch (static_cast<OsdErrc>(error.value())) {
    case OsdErrc::kOk:
      return {};
    case OsdErrc::kNoSpace:
      return check_condition(SenseKey::kDataProtect, Asc::kSpaceAllocationFailed);
    case OsdErrc::kMiscompare:
      return check_condition(SenseKey::kMiscompare, Asc::kMiscompareDuringVerify);
    case OsdErrc::kTimedOut:
    case OsdErrc::kUnreachable:
    case OsdErrc::kStaleMap:
    case OsdErrc::kRetryInline:
      return try_again;  // is_unanswered()
    case OsdErrc::kBusy:
    case OsdErrc::kShutdown:
      return {ScsiStatus::kBusy, SenseKey::kNoSense, Asc::kNone};
    case OsdErrc::kCancelled:
      return {ScsiStatus::kTaskAborted, SenseKey::kNoSense, Asc::kNone};
    case OsdErrc::kFenced:
      return check_condition(SenseKey::kNotReady, Asc::kManualInterventionRequired);
    case OsdErrc::kNoSuchPool:
    case OsdErrc::kNoSuchObject:
    case OsdErrc::kNoSuchAttribute:
    case OsdErrc::kIncompatible:
    case OsdErrc::kWatchLost:
      return check_condition(SenseKey::kNotReady, Asc::kNotReadyCauseNotReportable);
    case OsdErrc::kReadOnly:
    case OsdErrc::kNotPermitted:
      return check_condition(SenseKey::kDataProtect, Asc::kWriteProtected);
    case OsdErrc::kInvalid:
    case OsdErrc::kTooLarge:
      return check_condition(SenseKey::kIllegalRequest, Asc::kInvalidFieldInCdb);
    case OsdErrc::kCorrupt:
      return check_condition(SenseKey::kMediumError, Asc::kUnrecoveredReadError);
    case OsdErrc::kIoError:
      return medium_error;
    // Acknowledged data may be gone: the initiator must hear of it once, and not as something that
    // goes away by trying again.
    case OsdErrc::kLostWrites:
      return check_condition(SenseKey::kMediumError, Asc::kWriteError);
    // May or may not have been applied: Linux does not retry HARDWARE ERROR.
    case OsdErrc::kUnknownOutcome:
    case OsdErrc::kVersionMismatch:
    case OsdErrc::kExists:
      return check_condition(SenseKey::kHardwareError, Asc::kInternalTargetFailure);
  }
  return check_condition(SenseKey::kHardwareError, Asc::kInternalTargetFailure);
}

}  // namespace lunar::bstore_plugin
