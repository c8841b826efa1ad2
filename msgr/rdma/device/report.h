// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/memlock.h"
#include "msgr/rdma/device/device.h"
#include "msgr/rdma/rdma_options.h"
#include "msgr/rdma_report.h"

namespace lunar::msgr::rdma {

// What was found on a host. A value.
struct Findings {
  Address local;
  RdmaOptions options;
  std::vector<std::pair<std::string, bool>> modules;  // of the kernel, and whether loaded
  std::vector<DeviceListing> devices;
  std::optional<PortChoice> choice;  // for `local`
  std::optional<Features> features;  // of its device
  std::string problem;               // why there is no choice, or its device does not open
  Memlock memlock;
};

// What would stop RDMA or limit it, each with how to mend it. Pure.
std::vector<std::string> advice_on(const Findings& findings);
RdmaReport render(const Findings& findings);
std::string gid_text(const Gid& gid);
std::string_view gid_type_name(GidType type) noexcept;

}  // namespace lunar::msgr::rdma
