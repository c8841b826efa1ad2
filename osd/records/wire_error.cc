// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/wire_error.h"

#include <cerrno>

#include "common/result.h"

namespace lunar::osd {

OsdErrc wire_error(std::error_code error) noexcept {
  if (!error) return OsdErrc::kOk;
  if (error.category() == objecter::osd_category()) return static_cast<OsdErrc>(error.value());
  if (error == std::errc::no_space_on_device || error == system_error(EDQUOT))
    return OsdErrc::kNoSpace;
  if (error == system_error(EMFILE) || error == system_error(ENFILE)) return OsdErrc::kBusy;
  return OsdErrc::kIoError;
}

bool has_changed_nothing(std::error_code error) noexcept {
  return error == make_error_code(OsdErrc::kNoSpace) || error == make_error_code(OsdErrc::kBusy);
}

}  // namespace lunar::osd
