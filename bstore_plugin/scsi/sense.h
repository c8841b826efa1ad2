// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstdint>
#include <system_error>

namespace lunar::bstore_plugin {

// SAM-5 status codes and SPC-5 sense keys that we return.
enum class ScsiStatus : uint8_t {
  kGood = 0x00,
  kCheckCondition = 0x02,
  kBusy = 0x08,
  kTaskAborted = 0x40,
};
enum class SenseKey : uint8_t {
  kNoSense = 0x0,
  kNotReady = 0x2,
  kMediumError = 0x3,
  kHardwareError = 0x4,
  kIllegalRequest = 0x5,
  kDataProtect = 0x7,
  kAbortedCommand = 0xb,
  kMiscompare = 0xe,
};

// Additional sense code and qualifier, SPC-5 annex F.
enum class Asc : uint16_t {
  kNone = 0x0000,
  kNotReadyCauseNotReportable = 0x0400,
  kBecomingReady = 0x0401,
  kManualInterventionRequired = 0x0403,
  kWriteError = 0x0c00,
  kUnrecoveredReadError = 0x1100,
  kParameterListLength = 0x1a00,
  kMiscompareDuringVerify = 0x1d00,
  kInvalidOpCode = 0x2000,
  kLbaOutOfRange = 0x2100,
  kInvalidFieldInCdb = 0x2400,
  kInvalidFieldInParameterList = 0x2600,
  kWriteProtected = 0x2700,
  kSpaceAllocationFailed = 0x2707,
  kInternalTargetFailure = 0x4400,
};

struct Sense {
  ScsiStatus status = ScsiStatus::kGood;
  SenseKey key = SenseKey::kNoSense;
  Asc asc = Asc::kNone;
};

constexpr Sense check_condition(SenseKey key, Asc asc) noexcept {
  return {ScsiStatus::kCheckCondition, key, asc};
}

// What an error becomes at the initiator: the one table of it, docs/errors.md. `is_write` tells an
// unreadable medium from an unwritable one; `is_busy_on_timeout` is lunar_sense_on_timeout = busy.
// Pure.
Sense sense_of(const std::error_code& error, bool is_write, bool is_busy_on_timeout) noexcept;

// Nobody has answered: the errors that sense_of() makes "try again". Pure.
bool is_unanswered(const std::error_code& error) noexcept;

}  // namespace lunar::bstore_plugin
