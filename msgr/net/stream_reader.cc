// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/net/stream_reader.h"

#include <algorithm>
#include <array>
#include <span>

namespace lunar::msgr {
namespace {

constexpr std::size_t kShortReadAhead = 4u << 10;  // a header, a front, and little payload
constexpr std::size_t kLargePayload = 32u << 10;

}  // namespace

bool StreamReader::decode() {
  const std::shared_ptr<bool> alive = alive_;
  ConstBytes in(buffer_.get() + begin_, end_ - begin_);
  const bool goes_on = receiver_.feed(in);
  if (!*alive) return false;
  begin_ = end_ - in.size();
  return goes_on;
}

std::vector<std::byte> StreamReader::take_unread() {
  std::vector<std::byte> unread(buffer_.get() + begin_, buffer_.get() + end_);
  begin_ = end_ = 0;
  return unread;
}

StreamReader::Received StreamReader::receive(ByteStream& stream) {
  if (buffer_bytes_ != read_ahead_) {
    buffer_.reset(new std::byte[read_ahead_]);
    buffer_bytes_ = read_ahead_;
  }
  const Bytes target = receiver_.payload_target();
  const bool is_short = receiver_.last_data_bytes() >= kLargePayload;
  const std::size_t ahead = is_short ? std::min(kShortReadAhead, buffer_bytes_) : buffer_bytes_;
  const std::array<iovec, 2> iovecs = {iovec{target.data(), target.size()},
                                       iovec{buffer_.get(), ahead}};
  ++counters_.receive_calls;
  Received received;
  received.result = stream.receive(std::span(iovecs).subspan(target.empty() ? 1 : 0));
  counters_.bytes_received += received.result.bytes;
  received.has_drained = received.result.bytes < target.size() + ahead;
  received.placed_bytes = std::min(received.result.bytes, target.size());
  begin_ = 0;
  end_ = received.result.bytes - received.placed_bytes;
  return received;
}

}  // namespace lunar::msgr
