// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/types.h"

#include <algorithm>
#include <array>

namespace lunar::objecter {
namespace {

const char* describe(OsdErrc code) noexcept {
  switch (code) {
    case OsdErrc::kOk:
      return "success";
    case OsdErrc::kNoSuchObject:
      return "no such object";
    case OsdErrc::kNoSuchPool:
      return "no such pool";
    case OsdErrc::kMiscompare:
      return "the data differs from what was to be compared";
    case OsdErrc::kVersionMismatch:
      return "the object is at another version";
    case OsdErrc::kNoSpace:
      return "no space left on the object server";
    case OsdErrc::kIoError:
      return "the object server could not read or write its store";
    case OsdErrc::kCorrupt:
      return "a checksum does not match";
    case OsdErrc::kInvalid:
      return "a message or argument breaks a rule of the protocol";
    case OsdErrc::kTooLarge:
      return "larger than allowed";
    case OsdErrc::kExists:
      return "it exists already";
    case OsdErrc::kReadOnly:
      return "read-only";
    case OsdErrc::kFenced:
      return "this client was fenced by a newer instance of itself or by an operator";
    case OsdErrc::kLostWrites:
      return "acknowledged writes that were not flushed may be lost";
    case OsdErrc::kStaleMap:
      return "the object belongs to another server in a newer cluster map";
    case OsdErrc::kRetryInline:
      return "the data has to be sent again in the message";
    case OsdErrc::kUnknownOutcome:
      return "the server restarted: the operation may or may not have been applied";
    case OsdErrc::kTimedOut:
      return "no answer in time; a change may have been made";
    case OsdErrc::kCancelled:
      return "cancelled";
    case OsdErrc::kNoSuchAttribute:
      return "no such attribute";
    case OsdErrc::kShutdown:
      return "shutting down";
    case OsdErrc::kNotPermitted:
      return "not permitted for this entity ('lunar auth get' shows what it may do)";
    case OsdErrc::kUnreachable:
      return "no object server answered";
    case OsdErrc::kIncompatible:
      return "made by an incompatible version";
    case OsdErrc::kBusy:
      return "busy";
    case OsdErrc::kWatchLost:
      return "the watch of the object is lost";
  }
  return "unknown object server error";
}

// By character: whether names of objects may have it. A table, as each op has its name checked.
constexpr auto kIsOfNames = [] {
  std::array<bool, 256> is_of_names{};
  for (const char c : std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789._-"))
    is_of_names[static_cast<unsigned char>(c)] = true;
  return is_of_names;
}();

class OsdCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "lunar.osd"; }
  std::string message(int value) const override { return describe(static_cast<OsdErrc>(value)); }
};

}  // namespace

const std::error_category& osd_category() noexcept {
  // Never destroyed: a host program may use errors of ours while it exits.
  static const OsdCategory& category = *new OsdCategory;
  return category;
}

bool is_valid_object_name(std::string_view name) noexcept {
  const auto allowed = [](char c) { return kIsOfNames[static_cast<unsigned char>(c)]; };
  return !name.empty() && name.size() <= ObjectId::kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace lunar::objecter
