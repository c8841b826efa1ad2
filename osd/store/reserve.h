// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "common/mutex.h"
#include "osd/store/store_tree.h"

namespace lunar::osd {

// A file of allocated space, given back step by step so that what frees space, and metadata, can go
// on when the disk is full. Data writes never take from it, and can win only what is left of a
// step. Thread-safe, blocking. Owns its descriptor.
class Reserve {
 public:
  Reserve(const StoreTree& tree, uint64_t bytes) : tree_(tree), bytes_(bytes) {}

  // Opens the file and fills it as far as there is room. Not being able to fill it is no error.
  std::error_code open();
  // Fills it again if the disk has at least twice as much free as is missing.
  void refill();
  // False if there is nothing left to give.
  bool give_step();
  uint64_t held() const noexcept { return held_; }  // bytes; does not wait

  // Repeats `call` (which returns an error_code) while it fails for want of space and a step of the
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
  const StoreTree& tree_;
  const uint64_t bytes_;
  Mutex mutex_;
  UniqueFd fd_ GUARDED_BY(mutex_);
  std::atomic<uint64_t> held_ = 0;  // changed under the mutex
};

}  // namespace lunar::osd
