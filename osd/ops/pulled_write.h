// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "osd/ops/payload_pull.h"

namespace lunar::osd {

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
  void on_pulled(uint32_t fragment, PullFault fault);
  void store_next();
  void on_stored(std::error_code error);
  void stop(OsdErrc error, PullFault fault);
  void finish_if_idle();
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
