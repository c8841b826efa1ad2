// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/tcp/fast_connection.h"

#include <sys/epoll.h>

#include <cerrno>
#include <utility>

namespace lunar::bstore_plugin {

FastCounters::FastCounters(PerfRegistry& perf)
    : group(perf, "iscsi_tcp"),
      connections(group.gauge("connections", "iSCSI connections that the plugin drives now")),
      kept_bytes(group.gauge("kept_bytes",
                             "bytes of data buffers that are kept for the next commands", "bytes")),
      receives(group.counter("receives", "recvmsg calls on iSCSI connections")),
      sends(group.counter("sends", "sendmsg calls on iSCSI connections")),
      blocked(group.counter("blocked", "times that an initiator's socket took no more bytes")),
      paused(
          group.counter("paused",
                        "times that an initiator was not read from because its commands held too "
                        "much memory")),
      refused(group.counter("refused",
                            "connections closed because no command waits for a PDU's data, or has "
                            "no place for it")) {}

FastConnection::FastConnection(int fd, TgtConnection& tgt, FastConnectionHost& host,
                               CommandBuffers& buffers, ReadAheadBlocks& blocks,
                               FastCounters& counters, Wanted wanted)
    : fd_(fd),
      tgt_(tgt),
      host_(host),
      counters_(counters),
      input_(fd, blocks, counters.receives),
      output_(fd, buffers, counters.sends),
      wanted_(wanted),
      watched_(EPOLLIN) {}

long FastConnection::read(void* to, std::size_t bytes) {
  const ReadAhead::Gained got = input_.read(to, bytes);
  switch (got.arrival) {
    case ReadAhead::Arrival::kBytes:
      received_ += got.bytes;
      return static_cast<long>(got.bytes);
    case ReadAhead::Arrival::kEnd:
      has_no_input_ = true;
      return 0;
    case ReadAhead::Arrival::kNothing:
      break;
  }
  has_no_input_ = true;
  errno = EAGAIN;
  return -1;
}

long FastConnection::write(const void* from, std::size_t bytes, CommandBuffers::Buffer* buffer) {
  const auto* begin = static_cast<const std::byte*>(from);
  if (is_broken_ || is_forgotten_) {
    errno = EPIPE;
    return -1;
  }
  if (buffer != nullptr && bytes >= kSmallestReferred && begin >= buffer->begin &&
      begin <= buffer->begin + buffer->capacity &&
      bytes <= static_cast<std::size_t>(buffer->begin + buffer->capacity - begin)) {
    output_.add_reference(*buffer, begin, bytes);
  } else if (bytes > 0 && !output_.add_copy(from, bytes)) {
    is_broken_ = true;
    errno = ENOMEM;
    return -1;
  }
  schedule();
  return static_cast<long>(bytes);
}

void FastConnection::share_writes(std::shared_ptr<msgr::FairShares> shares,
                                  const std::string& initiator) {
  shares_ = std::move(shares);
  share_ = shares_->open(initiator);
  writes_.share = shares_->hold(share_, writes_.bytes);
}

void FastConnection::set_wanted(Wanted wanted) {
  if (is_forgotten_) return;
  wanted_ = wanted;
  schedule();
}

void FastConnection::forget() {
  if (is_forgotten_) return;
  if (!is_broken_) output_.flush();
  output_.clear();
  is_forgotten_ = true;
  hook.unlink();
}

void FastConnection::on_ready(int events) {
  if (events & EPOLLOUT) is_blocked_ = false;
  if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) input_.on_readable();
  if ((events & (EPOLLERR | EPOLLHUP)) && !may_receive()) {
    fail();
    return;
  }
  // Sending waits for the end of the turn: others may have more for this connection.
  host_.schedule(*this);
  if (may_receive()) receive_some();
}

void FastConnection::turn() {
  is_in_turn_ = true;
  const bool is_alive = run_turn();
  is_in_turn_ = false;
  if (is_alive) update_watch();
}

bool FastConnection::run_turn() {
  if (is_sending_last_) return (is_blocked_ || send_collected()) && check_end(true);
  if (!check_end(false)) return false;
  if (input_.has_bytes() && may_receive() && !receive_some()) return false;
  if (!send_some()) return false;
  if (input_.has_bytes() && may_receive()) host_.schedule(*this);  // may have been paused before
  return true;
}

void FastConnection::give_up() {
  if (is_sending_last_ && !is_forgotten_) fail();
}

bool FastConnection::wants_output() const {
  // In full feature phase tgt asks for EPOLLOUT at every command. Its queue is the better sign: it
  // also has the answers that wait behind a NOP-OUT that needs none.
  if (tgt_.phase() == TgtConnection::Phase::kFull) return tgt_.has_output();
  return wanted_ == Wanted::kOutput || wanted_ == Wanted::kBoth;
}

bool FastConnection::receive_some() {
  has_no_input_ = false;
  received_ = 0;
  const std::size_t held_before = held_bytes();
  int steps = 0;
  while (may_receive() && !has_no_input_ && steps < kTurnSteps) {
    const std::size_t gained = held_bytes() > held_before ? held_bytes() - held_before : 0;
    if (received_ + gained >= kTurnBytes) break;
    ++steps;
    tgt_.receive();
    if (is_forgotten_) return false;
    if (tgt_.phase() == TgtConnection::Phase::kClosing) return check_end(false);
  }
  if (input_.has_bytes()) {
    if (may_receive()) host_.schedule(*this);
  } else {
    input_.give_block_back();
  }
  return true;
}

bool FastConnection::send_some() {
  std::size_t sent = 0;
  int steps = 0;
  while (!is_blocked_ && sent < kTurnBytes && steps < kTurnSteps) {
    while (output_.bytes() < kMaxCollected && steps < kTurnSteps && wants_output()) {
      ++steps;
      tgt_.send();
      if (is_forgotten_) return false;
      if (tgt_.phase() == TgtConnection::Phase::kClosing) break;
    }
    if (output_.bytes() == 0) break;
    sent += output_.bytes();
    if (!send_collected()) return false;
    if (tgt_.phase() == TgtConnection::Phase::kClosing) break;
  }
  if (!check_end(true)) return false;
  if (!is_blocked_ && !is_sending_last_ && wants_output()) host_.schedule(*this);
  return true;
}

bool FastConnection::send_collected() {
  switch (output_.flush()) {
    case CollectedOutput::Flushed::kSent:
      break;
    case CollectedOutput::Flushed::kBlocked:
      is_blocked_ = true;
      counters_.blocked.add();
      break;
    case CollectedOutput::Flushed::kBroken:
      is_broken_ = true;
      fail();
      return false;
  }
  return true;
}

bool FastConnection::check_end(bool may_send_last) {
  if (tgt_.phase() != TgtConnection::Phase::kClosing) return true;
  if (may_send_last && !is_broken_ && output_.bytes() > 0) {
    if (!is_sending_last_) {
      is_sending_last_ = true;
      host_.start_grace(*this);
    }
    return true;
  }
  tgt_.close();
  return false;
}

void FastConnection::fail() {
  tgt_.set_closing();
  tgt_.close();
}

void FastConnection::update_watch() {
  const bool is_to_receive = may_receive();
  if (wants_input() && !is_sending_last_ && !is_to_receive && (watched_ & EPOLLIN)) {
    counters_.paused.add();
  }
  int events = 0;
  if (is_to_receive) events |= EPOLLIN;
  if (is_blocked_) events |= EPOLLOUT;
  if (events == watched_) return;
  watched_ = events;
  tgt_.watch(events);
}

}  // namespace lunar::bstore_plugin
