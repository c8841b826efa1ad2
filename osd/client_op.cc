// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/client_op.h"

#include <cerrno>

namespace lunar::osd {

OsdErrc wire_error(std::error_code error) noexcept {
  if (!error) return OsdErrc::kOk;
  if (error.category() == objecter::osd_category()) return static_cast<OsdErrc>(error.value());
  if (error == std::errc::no_space_on_device || error == system_error(EDQUOT))
    return OsdErrc::kNoSpace;
  return OsdErrc::kIoError;
}

OpResultRef make_error_result(const ClientOp& op, OsdErrc error) {
  auto result = std::make_shared<OpResult>();
  result->header.tid = op.header.tid;
  result->header.error = error;
  result->header.steps.resize(op.header.steps.size());
  return result;
}

}  // namespace lunar::osd
