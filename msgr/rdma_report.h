// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "common/config.h"
#include "msgr/address.h"

namespace lunar::msgr {

// What this host has for RDMA, what connections from an address would use, and what would stop
// them and how to mend it: `lunar rdma info` prints it. A value.
struct RdmaReport {
  bool works = false;  // with this configuration links can be RDMA
  std::string text;    // for people: lines, each ended by '\n'; those of advice begin with "! "
  std::string json;    // the same for programs: one object, and '\n'
};

// Looks at kernel modules, devices, ports, GIDs and the limit of locked memory, and opens the
// chosen device for a moment to try what it can do. `local` is the address that connections come
// from, as for the choice of a device; unset: any. Cannot fail: what is wrong is in the report, in
// sentences. Any thread. Blocks, on a device that does not answer for a few seconds.
RdmaReport make_rdma_report(const Config& config, const Address& local);

}  // namespace lunar::msgr
