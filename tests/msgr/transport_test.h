// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "msgr/net/network_stack.h"

namespace lunar::msgr {

// A stack that runs every body of transport_test.cc.
struct Transport {
  const char* name;
  const char* any_address;
  std::unique_ptr<NetworkStack> (*make)(std::size_t buffer_budget_bytes);
};

// Defined once in each executable that links transport_test.cc.
std::vector<Transport> transports_under_test();

}  // namespace lunar::msgr
