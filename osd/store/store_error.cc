// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/store_error.h"

#include <cerrno>

#include "common/log.h"
#include "objecter/protocol/types.h"

namespace lunar::osd {

using objecter::OsdErrc;

std::error_code to_store_error(std::error_code system) {
  if (!system) return {};
  if (system.category() == objecter::osd_category()) return system;
  switch (system.value()) {
    case ENOENT:
      return OsdErrc::kNoSuchObject;
    case ENOSPC:
    case EDQUOT:
      return OsdErrc::kNoSpace;
    case EFBIG:
    case E2BIG:
      return OsdErrc::kTooLarge;
    case EMFILE:
    case ENFILE:
      LUNAR_ERROR(kStore, "the file system failed: {}; raise LimitNOFILE or fs.file-max",
                  system.message());
      return OsdErrc::kBusy;
    case ENODATA:
      return OsdErrc::kNoSuchAttribute;
    default:
      break;
  }
  LUNAR_ERROR(kStore, "the file system failed: {}", system.message());
  return OsdErrc::kIoError;
}

}  // namespace lunar::osd
