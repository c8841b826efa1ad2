// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "common/inline_function.h"
#include "msgr/buffer.h"
#include "msgr/event_center.h"

namespace lunar::perf_msgr {

// Leases of a pool that may need time to grow. Loop-bound; destroying it gives up, and `done` does
// not run.
class BufferRequest {
 public:
  using Done = InlineFunction<void(std::vector<msgr::RegisteredBuffer>)>;

  // `count` buffers of `bytes` each; `done` runs later, with fewer if the pool has no more after
  // some seconds. No bytes, no buffers.
  BufferRequest(msgr::EventCenter& center, msgr::BufferPool& pool, std::size_t bytes,
                std::size_t count, Done done);
  ~BufferRequest();

 private:
  void take();

  msgr::EventCenter& center_;
  msgr::BufferPool& pool_;
  const std::size_t bytes_;
  const std::size_t count_;
  Done done_;
  const msgr::EventCenter::Clock::time_point deadline_;
  msgr::TimerId timer_ = msgr::TimerId::kNone;
  std::vector<msgr::RegisteredBuffer> taken_;
};

}  // namespace lunar::perf_msgr
