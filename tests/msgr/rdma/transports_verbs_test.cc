// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/msgr/rdma/joined_stack.h"
#include "tests/msgr/transport_test.h"

namespace lunar::msgr {
namespace {

std::unique_ptr<NetworkStack> make_joined(std::size_t buffer_budget_bytes, bool use_srq) {
  auto options = rdma::JoinedStack::test_options();
  options.use_srq = use_srq;
  options.staging_bytes = buffer_budget_bytes;
  options.front_end_bytes = 1u << 20;
  return std::make_unique<rdma::JoinedStack>(options);
}

}  // namespace

std::vector<Transport> transports_under_test() {
  return {
      {"RdmaSrq", "127.0.0.1:0", [](std::size_t budget) { return make_joined(budget, true); }},
      {"RdmaNoSrq", "127.0.0.1:0", [](std::size_t budget) { return make_joined(budget, false); }}};
}

}  // namespace lunar::msgr
