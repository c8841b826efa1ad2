// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <map>
#include <system_error>

#include "osd/ops/client_op.h"
#include "osd/ops/op_environment.h"

namespace lunar::osd {

// The payload of one op in its client's memory: moves it here by RDMA READ, a fragment at a time,
// and compares the checksums. Loop-bound. Borrows environment and op. REQUIRES at destruction:
// nothing is under way.
class PayloadPull {
 public:
  using Done = InlineFunction<void(PullFault)>;
  PayloadPull(const OpEnvironment& environment, const ClientOp& op) noexcept
      : env_(environment), op_(op), delivery_(*op.header.delivery) {}
  ~PayloadPull();

  // Whether it may begin now, into memory such as `buffer`.
  PullFault check(const msgr::RegisteredBuffer& buffer) const;
  uint32_t fragments() const noexcept { return delivery_.fragments(); }
  uint64_t offset_of(uint32_t fragment) const noexcept {
    return uint64_t{fragment} * delivery_.fragment_bytes;
  }
  uint32_t length_of(uint32_t fragment) const noexcept;

  // Fills `buffer` from `offset` on with a fragment; both are borrowed until done, which runs once,
  // later, when no READ of the fragment is under way any more.
  void pull(uint32_t fragment, const msgr::RegisteredBuffer& buffer, uint32_t offset, Done done);
  std::size_t under_way() const noexcept { return fragments_.size(); }
  uint64_t bytes_pulled() const noexcept { return bytes_pulled_; }

 private:
  struct PulledFragment {
    const msgr::RegisteredBuffer* buffer = nullptr;
    uint32_t offset = 0;
    uint32_t reads = 0;  // under way
    PullFault fault = PullFault::kNone;
    Done done;
  };
  void on_read(uint32_t number, std::error_code error);
  PullFault verify(uint32_t number, const PulledFragment& fragment) const;

  const OpEnvironment& env_;
  const ClientOp& op_;
  const objecter::DeliveryDescriptor& delivery_;
  std::map<uint32_t, PulledFragment> fragments_;  // under way
  uint64_t bytes_pulled_ = 0;
};

}  // namespace lunar::osd
