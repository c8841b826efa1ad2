// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/client_op.h"

#include <cerrno>

namespace lunar::osd {

Errc wire_error(std::error_code error) noexcept {
  if (!error) return Errc::kOk;
  if (error.category() == objecter::osd_category()) return static_cast<Errc>(error.value());
  if (error == std::errc::no_space_on_device || error == system_error(EDQUOT))
    return Errc::kNoSpace;
  return Errc::kIoError;
}

OpResultRef make_error_result(const ClientOp& op, Errc error) {
  auto result = std::make_shared<OpResult>();
  result->header.tid = op.header.tid;
  result->header.error = error;
  result->header.steps.resize(op.header.steps.size());
  return result;
}

}  // namespace lunar::osd
