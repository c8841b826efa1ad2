// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "osd/ops/op_run.h"

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
  struct Fragment {
    const msgr::RegisteredBuffer* buffer = nullptr;
    uint32_t offset = 0;
    uint32_t reads = 0;  // under way
    PullFault fault = PullFault::kNone;
    Done done;
  };
  void read_done(uint32_t number, std::error_code error);
  PullFault verify(uint32_t number, const Fragment& fragment) const;

  const OpEnvironment& env_;
  const ClientOp& op_;
  const objecter::DeliveryDescriptor& delivery_;
  std::map<uint32_t, Fragment> fragments_;  // under way
  uint64_t bytes_pulled_ = 0;
};

// A WRITE of a data object whose payload is pulled: some fragments ahead of the store, each checked
// before it is stored. A fault in the middle leaves what was stored, as a torn write does.
// Loop-bound. Borrows environment and op.
class PulledWrite {
 public:
  // `before_store` runs before the first byte goes to the store. `done` runs once, in start() at
  // the earliest, as the last thing: kRetryInline if the payload could not be had.
  PulledWrite(const OpEnvironment& environment, const ClientOp& op,
              InlineFunction<void()> before_store, InlineFunction<void(OsdErrc)> done)
      : env_(environment),
        op_(op),
        pull_(environment, op),
        before_store_(std::move(before_store)),
        done_(std::move(done)) {}

  // Takes at least one buffer for fragments; false if there is none.
  bool take_buffers();
  void start();
  uint64_t bytes_pulled() const noexcept { return pull_.bytes_pulled(); }

 private:
  static constexpr std::size_t kSlots = 3;

  void pull_ahead();
  void pulled(uint32_t fragment, PullFault fault);
  void store_next();
  void stored(std::error_code error);
  void stop(OsdErrc error, PullFault fault);
  void end_if_idle();
  std::size_t slot_of(uint32_t fragment) const noexcept { return fragment % slots_.size(); }

  const OpEnvironment& env_;
  const ClientOp& op_;
  PayloadPull pull_;
  InlineFunction<void()> before_store_;
  InlineFunction<void(OsdErrc)> done_;
  std::vector<msgr::RegisteredBuffer> slots_;
  std::vector<bool> is_ready_;  // the slot holds a fragment that was checked
  uint32_t next_pull_ = 0;
  uint32_t next_store_ = 0;
  bool is_storing_ = false;
  bool is_stopped_ = false;
  OsdErrc error_ = OsdErrc::kOk;
};

}  // namespace lunar::osd
