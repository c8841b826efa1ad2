// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/net/stream_send_queue.h"

namespace lunar::msgr {
namespace {

constexpr std::size_t kCompactAbove = 64;  // frames that have left and still take room

}  // namespace

void StreamSendQueue::gather(Gathered& out) const noexcept {
  std::size_t skip = head_bytes_sent_;
  for (std::size_t i = head_; i < queue_.size() && !out.is_full(); ++i) {
    const Frame& frame = queue_[i].frame;
    out.add({reinterpret_cast<const std::byte*>(&frame.header), sizeof frame.header}, skip);
    out.add(frame.front, skip);
    for (const ConstBytes span : frame.data) out.add(span, skip);
  }
}

std::size_t StreamSendQueue::advance(std::size_t bytes, std::vector<IoDone>& finished) {
  const std::size_t old_head = head_;
  queued_bytes_ -= bytes;
  head_bytes_sent_ += bytes;
  while (head_ < queue_.size() && head_bytes_sent_ >= queue_[head_].bytes) {
    QueuedFrame& head = queue_[head_++];
    head_bytes_sent_ -= head.bytes;
    if (head.sent) finished.push_back(std::move(head.sent));
    head.frame = Frame();
  }
  const std::size_t frames = head_ - old_head;
  if (head_ == queue_.size()) {
    queue_.clear();
    head_ = 0;
  } else if (head_ > kCompactAbove && head_ * 2 > queue_.size()) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
  return frames;
}

std::vector<IoDone> StreamSendQueue::take_unsent() {
  std::vector<IoDone> unsent;
  for (std::size_t i = head_; i < queue_.size(); ++i) {
    if (queue_[i].sent) unsent.push_back(std::move(queue_[i].sent));
  }
  queue_.clear();
  head_ = head_bytes_sent_ = queued_bytes_ = 0;
  return unsent;
}

}  // namespace lunar::msgr
