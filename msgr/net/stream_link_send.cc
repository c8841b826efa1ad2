// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The sending half of StreamLink. send() only queues; one posted function per turn gathers what the
// turn queued, so that many small frames leave with one system call, headers, fronts and borrowed
// data where they lie. `sent` callbacks run after the queue is consistent again: they may send.

#include <limits.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "msgr/net/outgoing.h"
#include "msgr/net/stream_link.h"

namespace lunar::msgr {
namespace {

constexpr std::size_t kMaxParts = IOV_MAX;
constexpr std::size_t kMaxBytesPerSend = 4u << 20;  // so that one link cannot keep the loop
constexpr std::size_t kCompactAbove = 64;

}  // namespace

// What one system call is offered. Lives on the stack.
struct StreamLink::Gathered {
  std::array<iovec, kMaxParts> parts;
  std::size_t count = 0;
  std::size_t bytes = 0;

  bool full() const noexcept { return count == parts.size() || bytes >= kMaxBytesPerSend; }
  // Adds what lies behind the first `skip` bytes, and shortens `skip` by what was skipped.
  void add(ConstBytes part, std::size_t& skip) noexcept {
    const std::size_t skipped = std::min(skip, part.size());
    skip -= skipped;
    part = part.subspan(skipped);
    if (part.empty() || full()) return;
    parts[count++] = {const_cast<std::byte*>(part.data()), part.size()};
    bytes += part.size();
  }
};

void StreamLink::send(Frame frame, IoDone sent) {
  center_.assert_in_loop();
  if (!is_open()) return post_done(center_, std::move(sent), error_);
  if (const auto error = seal_outgoing(frame, options_.limits, options_.crc_data)) {
    return post_done(center_, std::move(sent), error);
  }
  const std::size_t bytes = frame_bytes(frame);
  queue_.push_back({std::move(frame), std::move(sent), bytes});
  queued_bytes_ += bytes;
  schedule_flush();
}

void StreamLink::schedule_flush() {
  if (flush_posted_ || write_blocked_) return;
  flush_posted_ = true;
  center_.post([this, alive = alive_] {
    if (!*alive) return;
    flush_posted_ = false;
    flush();
  });
}

void StreamLink::flush() {
  if (!is_open() || write_blocked_ || queue_head_ == queue_.size()) return;
  Gathered gathered;
  gather(gathered);
  ++counters_.send_calls;
  const StreamResult result = stream_->send(std::span(gathered.parts).first(gathered.count));
  if (result.error) return fail(result.error);
  counters_.bytes_sent += result.bytes;
  if (result.bytes < gathered.bytes) {
    write_blocked_ = true;
    update_events();
    if (!is_open()) return;
  }
  finish_sent(result.bytes);
}

void StreamLink::gather(Gathered& out) const noexcept {
  std::size_t skip = head_sent_;
  for (std::size_t i = queue_head_; i < queue_.size() && !out.full(); ++i) {
    const Frame& frame = queue_[i].frame;
    out.add({reinterpret_cast<const std::byte*>(&frame.header), sizeof frame.header}, skip);
    out.add(frame.front, skip);
    for (const ConstBytes part : frame.data) out.add(part, skip);
  }
}

void StreamLink::finish_sent(std::size_t bytes) {
  queued_bytes_ -= bytes;
  std::vector<IoDone> finished = std::move(finished_);
  head_sent_ += bytes;
  while (queue_head_ < queue_.size() && head_sent_ >= queue_[queue_head_].bytes) {
    Queued& head = queue_[queue_head_++];
    head_sent_ -= head.bytes;
    ++counters_.frames_sent;
    if (head.sent) finished.push_back(std::move(head.sent));
    head.frame = Frame();
  }
  if (queue_head_ == queue_.size()) {
    queue_.clear();
    queue_head_ = 0;
  } else {
    if (queue_head_ > kCompactAbove && queue_head_ * 2 > queue_.size()) {
      queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(queue_head_));
      queue_head_ = 0;
    }
    schedule_flush();
  }
  const std::shared_ptr<bool> alive = alive_;
  for (IoDone& sent : finished) sent({});
  if (!*alive) return;
  finished.clear();
  finished_ = std::move(finished);
}

}  // namespace lunar::msgr
