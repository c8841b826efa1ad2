// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/types.h"

#include <algorithm>

namespace lunar::objecter {
namespace {

const char* describe(Errc code) noexcept {
  switch (code) {
    case Errc::kOk:
      return "success";
    case Errc::kNoSuchObject:
      return "no such object";
    case Errc::kNoSuchPool:
      return "no such pool";
    case Errc::kMiscompare:
      return "the data differs from what was to be compared";
    case Errc::kVersionMismatch:
      return "the object is at another version";
    case Errc::kNoSpace:
      return "no space left on the object server";
    case Errc::kIoError:
      return "the object server could not read or write its store";
    case Errc::kCorrupt:
      return "a checksum does not match";
    case Errc::kInvalid:
      return "a message or argument breaks a rule of the protocol";
    case Errc::kTooLarge:
      return "larger than allowed";
    case Errc::kExists:
      return "it exists already";
    case Errc::kReadOnly:
      return "read-only";
    case Errc::kFenced:
      return "this client was fenced by a newer instance of itself or by an operator";
    case Errc::kLostWrites:
      return "acknowledged writes that were not flushed may be lost";
    case Errc::kStaleMap:
      return "the object belongs to another server in a newer cluster map";
    case Errc::kRetryInline:
      return "the data has to be sent again in the message";
    case Errc::kUnknownOutcome:
      return "the server restarted: the operation may or may not have been applied";
    case Errc::kTimedOut:
      return "no answer in time; the operation may have been applied";
    case Errc::kCancelled:
      return "cancelled";
    case Errc::kNoSuchAttribute:
      return "no such attribute";
    case Errc::kShutdown:
      return "shutting down";
    case Errc::kNotPermitted:
      return "not permitted for this entity";
    case Errc::kUnreachable:
      return "no object server answered";
    case Errc::kIncompatible:
      return "made by an incompatible version";
    case Errc::kBusy:
      return "busy";
  }
  return "unknown object server error";
}

class OsdCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "lunar.osd"; }
  std::string message(int value) const override { return describe(static_cast<Errc>(value)); }
};

}  // namespace

const std::error_category& osd_category() noexcept {
  // Never destroyed: a host program may use errors of ours while it exits.
  static const OsdCategory& category = *new OsdCategory;
  return category;
}

bool is_valid_object_name(std::string_view name) noexcept {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= ObjectId::kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace lunar::objecter
