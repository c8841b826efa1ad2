// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <utility>

#include "common/check.h"
#include "common/unique_function.h"
#include "gateway/io/io_run.h"

namespace lunar::gateway {

// The IOs of one image that are under way: for cancelling them by their id, and for waiting until
// there is none. Loop-bound. Borrows the IOs, each from add() to remove().
class IosInFlight {
 public:
  IosInFlight() = default;
  ~IosInFlight() { LUNAR_CHECK(list_.empty(), "an image is destroyed with IO in flight"); }

  void add(IoRun& io) noexcept { list_.push_back(io); }
  void remove(IoRun& io) noexcept { list_.erase(list_.iterator_to(io)); }
  bool empty() const noexcept { return list_.empty(); }

  // Asks every IO with this id to end early: IoRun::cancel(). An unknown id is ignored.
  void cancel(uint64_t io_id) {
    for (IoRun& io : list_) {
      if (io.io_id() == io_id) io.cancel();
    }
  }

  // Runs `done` in the first notify_if_none() that finds none in flight. One waits at a time.
  void when_none(UniqueFunction<void()> done) { when_none_ = std::move(done); }
  // For when an IO has run its done, and once after when_none(). May destroy this.
  void notify_if_none() {
    if (when_none_ && list_.empty()) std::exchange(when_none_, nullptr)();
  }

 private:
  boost::intrusive::list<IoRun, boost::intrusive::constant_time_size<false>> list_;
  UniqueFunction<void()> when_none_;
};

}  // namespace lunar::gateway
