// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/unique_function.h"
#include "gateway/io/io_run.h"

namespace lunar::gateway {

// The IOs of one image that are under way: for cancelling them by their id, and for waiting until
// there is none, or none at the end of the image. Loop-bound. Borrows the IOs, each from add() to
// remove().
class IosInFlight {
 public:
  IosInFlight() = default;
  ~IosInFlight() { LUNAR_CHECK(list_.empty(), "an image is destroyed with IO in flight"); }

  void add(IoRun& io) noexcept {
    io.set_order(++last_order_);
    list_.push_back(io);
  }
  void remove(IoRun& io) noexcept { list_.erase(list_.iterator_to(io)); }
  bool empty() const noexcept { return list_.empty(); }

  // Asks every IO with this id to end early: IoRun::cancel(). An unknown id is ignored.
  void cancel(uint64_t io_id) {
    for (IoRun& io : list_) {
      if (io.io_id() == io_id) io.cancel();
    }
  }

  // Runs `done` in the first notify() that finds none in flight. One waits at a time.
  void when_none(UniqueFunction<void()> done) { when_none_ = std::move(done); }
  // Runs `done` in the first notify() that finds none in flight of those that are now, and that
  // reach beyond the byte `end` of the image. What is added later is not waited for.
  void when_none_beyond(uint64_t end, UniqueFunction<void()> done) {
    barriers_.push_back({end, last_order_, std::move(done)});
  }
  // For when an IO has run its done, and once after the two above. May destroy this.
  void notify() {
    if (barriers_.empty() && !when_none_) return;
    std::vector<UniqueFunction<void()>> ready;
    std::erase_if(barriers_, [&](Barrier& barrier) {
      const bool holds = std::any_of(list_.begin(), list_.end(), [&](const IoRun& io) {
        return io.order() <= barrier.order && io.end() > barrier.end;
      });
      if (!holds) ready.push_back(std::move(barrier.done));
      return !holds;
    });
    if (when_none_ && list_.empty()) ready.push_back(std::exchange(when_none_, nullptr));
    for (auto& done : ready) done();
  }

 private:
  struct Barrier {
    uint64_t end = 0;    // bytes
    uint64_t order = 0;  // of the last IO that it is about
    UniqueFunction<void()> done;
  };
  boost::intrusive::list<IoRun, boost::intrusive::constant_time_size<false>> list_;
  uint64_t last_order_ = 0;
  UniqueFunction<void()> when_none_;
  std::vector<Barrier> barriers_;
};

}  // namespace lunar::gateway
