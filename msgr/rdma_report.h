// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "common/config.h"
#include "msgr/address.h"

namespace lunar::msgr {

// What this host has for RDMA, what connections from `local` (unset: any) would use, and what would
// stop them and how to mend it. Immutable.
struct RdmaReport {
  bool works = false;
  std::string text;  // for people, lines
  std::string json;
};
// Opens the chosen device for a moment. Blocks.
RdmaReport make_rdma_report(const Config& config, const Address& local);

}  // namespace lunar::msgr
