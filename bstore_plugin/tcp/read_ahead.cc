// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/tcp/read_ahead.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "common/copy_bytes.h"

namespace lunar::bstore_plugin {

std::unique_ptr<std::byte[]> ReadAheadBlocks::take() {
  if (spare_.empty()) return std::make_unique_for_overwrite<std::byte[]>(kBlockBytes);
  auto block = std::move(spare_.back());
  spare_.pop_back();
  return block;
}

void ReadAheadBlocks::give_back(std::unique_ptr<std::byte[]> block) {
  if (spare_.size() < kMaxSpare) spare_.push_back(std::move(block));
}

ReadAhead::Gained ReadAhead::read(void* to, std::size_t bytes) {
  if (has_bytes()) {
    const std::size_t given = std::min(bytes, end_ - begin_);
    copy_bytes(static_cast<std::byte*>(to), block_.get() + begin_, given);
    begin_ += given;
    return {Arrival::kBytes, given};
  }
  if (is_drained_) return {Arrival::kNothing, 0};
  if (block_ == nullptr) block_ = blocks_.take();
  iovec places[2] = {{to, bytes}, {block_.get(), ReadAheadBlocks::kBlockBytes}};
  msghdr message{};
  message.msg_iov = places;
  message.msg_iovlen = 2;
  ssize_t got = 0;
  do {
    got = recvmsg(fd_, &message, MSG_DONTWAIT);
    calls_.add();
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    is_drained_ = true;
    return {Arrival::kNothing, 0};
  }
  if (got <= 0) return {Arrival::kEnd, 0};
  const auto received = static_cast<std::size_t>(got);
  const std::size_t given = std::min(received, bytes);
  begin_ = 0;
  end_ = received - given;
  is_drained_ = received < bytes + ReadAheadBlocks::kBlockBytes;
  return {Arrival::kBytes, given};
}

void ReadAhead::give_block_back() {
  if (block_ == nullptr || has_bytes()) return;
  blocks_.give_back(std::move(block_));
}

}  // namespace lunar::bstore_plugin
