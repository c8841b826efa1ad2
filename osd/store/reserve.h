// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "common/mutex.h"
#include "osd/store/store_tree.h"

namespace lunar::osd {

// A file of allocated space, given back step by step so that what frees space, and metadata, can go
// on when the disk is full. Data never takes from it: DataSpace keeps free what it lacks, and one
// step more. Thread-safe, blocking. Owns its descriptor.
class Reserve {
 public:
  Reserve(const StoreTree& tree, uint64_t bytes) : tree_(tree), wanted_(bytes) {}

  // Opens the file. Takes no space: refill() does. On a small disk the reserve is an eighth of it.
  std::error_code open();
  // Fills it in steps, as far as the disk has room beside the margin of a step.
  void refill();
  // False if there is nothing left to give.
  bool give_step();
  uint64_t held() const noexcept { return held_; }  // bytes; does not wait
  bool is_full() const noexcept { return held_ >= bytes_; }
  // What data must leave free: bytes; does not wait.
  uint64_t kept_free() const noexcept { return bytes_ - held_ + margin(); }

  // Repeats `call` (which returns an error_code) while it finds no space and a step of the
  // reserve can still be given.
  template <typename Call>
  std::error_code use_for(Call&& call) {
    std::error_code error = call();
    while ((error == std::errc::no_space_on_device || error == system_error(EDQUOT)) &&
           give_step()) {
      error = call();
    }
    return error;
  }

 private:
  static constexpr uint64_t kSteps = 16;
  static constexpr uint64_t kMaxShare = 8;  // of the disk: an eighth
  uint64_t step() const noexcept { return bytes_ / kSteps > 0 ? bytes_ / kSteps : 1; }
  uint64_t margin() const noexcept { return bytes_ / kSteps; }

  const StoreTree& tree_;
  const uint64_t wanted_;
  std::atomic<uint64_t> bytes_ = 0;  // what it is to hold; set by open()
  Mutex mutex_;
  UniqueFd fd_ GUARDED_BY(mutex_);
  std::atomic<uint64_t> held_ = 0;  // never above bytes_; changed under the mutex
};

}  // namespace lunar::osd
