// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/perf_msgr/buffers.h"

#include <utility>

namespace lunar::perf_msgr {
namespace {

constexpr std::chrono::milliseconds kRetry{5};
constexpr std::chrono::seconds kPatience{10};

}  // namespace

BufferRequest::BufferRequest(msgr::EventCenter& center, msgr::BufferPool& pool, std::size_t bytes,
                             std::size_t count, Done done)
    : center_(center),
      pool_(pool),
      bytes_(bytes),
      count_(bytes == 0 ? 0 : count),
      done_(std::move(done)),
      deadline_(center.now() + kPatience) {
  timer_ = center_.run_after({}, [this] { take(); });
}

BufferRequest::~BufferRequest() { center_.cancel(timer_); }

void BufferRequest::take() {
  timer_ = msgr::TimerId::kNone;
  while (taken_.size() < count_) {
    auto buffer = pool_.allocate(bytes_);
    if (!buffer) break;
    taken_.push_back(std::move(buffer));
  }
  if (taken_.size() < count_ && center_.now() < deadline_) {
    timer_ = center_.run_after(kRetry, [this] { take(); });
    return;
  }
  Done done = std::move(done_);
  done(std::move(taken_));  // may destroy this
}

}  // namespace lunar::perf_msgr
