// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/client_op.h"

namespace lunar::osd {

OpResultRef make_error_result(const ClientOp& op, OsdErrc error) {
  auto result = std::make_shared<OpResult>();
  result->header.tid = op.header.tid;
  result->header.error = error;
  result->header.steps.resize(op.header.steps.size());
  if (!result->header.steps.empty()) result->header.steps.front().error = error;
  return result;
}

}  // namespace lunar::osd
