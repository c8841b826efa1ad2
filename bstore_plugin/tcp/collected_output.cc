// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/tcp/collected_output.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lunar::bstore_plugin {

bool CollectedOutput::add_copy(const void* from, std::size_t bytes) {
  const auto* at = static_cast<const std::byte*>(from);
  while (bytes > 0) {
    if (copies_ != nullptr && copied_ == kCopiesBytes) drop_copies();
    if (copies_ == nullptr) {
      copies_ = buffers_.allocate(kCopiesBytes, nullptr);
      if (copies_ == nullptr) return false;
    }
    const std::size_t now = std::min(bytes, kCopiesBytes - copied_);
    std::byte* const to = copies_->begin + copied_;
    std::memcpy(to, at, now);
    if (first_ < stretches_.size() && stretches_.back().buffer == copies_ &&
        stretches_.back().begin + stretches_.back().bytes == to) {
      stretches_.back().bytes += now;
    } else {
      buffers_.hold(*copies_);
      stretches_.push_back({to, now, copies_});
    }
    copied_ += now;
    bytes_ += now;
    at += now;
    bytes -= now;
  }
  return true;
}

void CollectedOutput::add_reference(CommandBuffers::Buffer& buffer, const std::byte* from,
                                    std::size_t bytes) {
  buffers_.hold(buffer);
  stretches_.push_back({from, bytes, &buffer});
  bytes_ += bytes;
}

CollectedOutput::Flushed CollectedOutput::flush() {
  while (bytes_ > 0) {
    iovec vector[kMaxStretches];
    const std::size_t count = std::min(stretches_.size() - first_, kMaxStretches);
    std::size_t wanted = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const Stretch& stretch = stretches_[first_ + i];
      vector[i] = {const_cast<std::byte*>(stretch.begin), stretch.bytes};
      wanted += stretch.bytes;
    }
    msghdr message{};
    message.msg_iov = vector;
    message.msg_iovlen = count;
    const ssize_t sent = sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    calls_.add();
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return Flushed::kBlocked;
      clear();
      return Flushed::kBroken;
    }
    on_sent(static_cast<std::size_t>(sent));
    if (static_cast<std::size_t>(sent) < wanted) return Flushed::kBlocked;
  }
  if (copies_ != nullptr) drop_copies();
  return Flushed::kSent;
}

void CollectedOutput::on_sent(std::size_t bytes) {
  bytes_ -= bytes;
  while (bytes > 0) {
    Stretch& stretch = stretches_[first_];
    const std::size_t now = std::min(bytes, stretch.bytes);
    stretch.begin += now;
    stretch.bytes -= now;
    bytes -= now;
    if (stretch.bytes > 0) break;
    buffers_.release(*stretch.buffer);
    ++first_;
  }
  // What is long sent is forgotten, at a cost that what was sent since has earned.
  if (first_ == stretches_.size() || first_ >= kMaxSentStretches) {
    stretches_.erase(stretches_.begin(), stretches_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

void CollectedOutput::clear() {
  for (std::size_t i = first_; i < stretches_.size(); ++i) buffers_.release(*stretches_[i].buffer);
  stretches_.clear();
  first_ = 0;
  bytes_ = 0;
  if (copies_ != nullptr) drop_copies();
}

void CollectedOutput::drop_copies() {
  buffers_.release(*copies_);
  copies_ = nullptr;
  copied_ = 0;
}

}  // namespace lunar::bstore_plugin
