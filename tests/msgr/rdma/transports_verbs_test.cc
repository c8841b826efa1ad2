// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The data path alone, with and without an SRQ, and the whole stack both ways of setting up. The
// guest's network device has this address.

#include "msgr/rdma/rdma_stack.h"
#include "tests/msgr/rdma/link/joined_stack.h"
#include "tests/msgr/transport_test.h"

namespace lunar::msgr {
namespace {

rdma::RdmaOptions options_for(std::size_t buffer_budget_bytes) {
  auto options = rdma::JoinedStack::test_options();
  options.staging_bytes = buffer_budget_bytes;
  options.front_end_bytes = 1u << 20;
  options.may_fall_back = false;
  return options;
}

std::unique_ptr<NetworkStack> make_joined(std::size_t buffer_budget_bytes, bool use_srq) {
  auto options = options_for(buffer_budget_bytes);
  options.use_srq = use_srq;
  return std::make_unique<rdma::JoinedStack>(options);
}

std::unique_ptr<NetworkStack> make_whole(std::size_t buffer_budget_bytes, bool use_cm) {
  auto options = options_for(buffer_budget_bytes);
  options.use_cm = use_cm;
  auto stack = rdma::RdmaStack::create(options, {}, nullptr);
  EXPECT_TRUE(stack) << stack.error().message;
  return std::move(*stack);
}

// Links of the stack's own upgrade().
struct UpgradedStack final : UpgradingStack {
  explicit UpgradedStack(std::unique_ptr<NetworkStack> stack)
      : UpgradingStack(*stack,
                       [base = stack.get()](EventCenter& center, const Link& over) {
                         return base->upgrade(center, over);
                       }),
        owned(std::move(stack)) {}
  const std::unique_ptr<NetworkStack> owned;
};

}  // namespace

std::vector<Transport> transports_under_test() {
  return {
      {"RdmaSrq", "127.0.0.1:0", [](std::size_t budget) { return make_joined(budget, true); }},
      {"RdmaNoSrq", "127.0.0.1:0", [](std::size_t budget) { return make_joined(budget, false); }},
      {"RdmaByTcp", "10.0.2.15:0",
       [](std::size_t budget) -> std::unique_ptr<NetworkStack> {
         return std::make_unique<UpgradedStack>(make_whole(budget, false));
       }},
      {"RdmaByCm", "10.0.2.15:0", [](std::size_t budget) -> std::unique_ptr<NetworkStack> {
         return std::make_unique<UpgradedStack>(make_whole(budget, true));
       }}};
}

}  // namespace lunar::msgr
