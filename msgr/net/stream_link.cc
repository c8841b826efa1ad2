// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The receiving half of StreamLink, and its end. Headers, fronts and small data come through a
// prefetch buffer; a payload that is placed is received where it belongs, together with a little of
// what follows. After large payloads the read-ahead is small, so that the head of the next payload
// is not received into the prefetch buffer only to be copied out of it.

#include "msgr/net/stream_link.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/check.h"
#include "msgr/errors.h"
#include "msgr/net/outgoing.h"

namespace lunar::msgr {
namespace {

constexpr std::size_t kPrefetchBytes = 64u << 10;
constexpr std::size_t kShortReadAhead = 4u << 10;  // a header, a front, and little payload
constexpr std::size_t kLargePayload = 32u << 10;
// What one link may do before others have their turn; epoll brings it back.
constexpr int kReadsPerTurn = 8;
constexpr std::size_t kBytesPerTurn = 4u << 20;

}  // namespace

// What is left to tell when a link is over; posted, since it does not fit into a callback.
struct StreamLink::Ended {
  std::vector<IoDone> unsent;
  std::error_code why;
  InlineFunction<void()> closed;
  void run() {
    for (IoDone& sent : unsent) sent(why);
    if (closed) closed();
  }
};

StreamLink::StreamLink(EventCenter& center, std::unique_ptr<ByteStream> stream, BufferPool& pool,
                       const StreamLinkOptions& options)
    : center_(center),
      options_(options),
      local_(stream->local_address()),
      peer_(stream->peer_address()),
      alive_(std::make_shared<bool>(true)),
      stream_(std::move(stream)),
      receiver_(center, pool, options.limits, *this, counters_) {
  capabilities_.eager_bytes = options.limits.max_data_bytes;
}

StreamLink::~StreamLink() {
  *alive_ = false;
  auto ended = end(State::kClosed, MsgrErrc::kClosed);
  if (!ended->unsent.empty()) center_.post([ended = std::move(ended)] { ended->run(); });
}

void StreamLink::set_handler(LinkHandler* handler) {
  center_.assert_in_loop();
  receiver_.set_handler(handler);
  if (state_ == State::kFailed) {
    center_.post([this, alive = alive_] {
      if (*alive) report_failure();
    });
  }
  if (!is_open()) return;
  update_events();
  schedule_pump();
}

void StreamLink::pause_reading() {
  center_.assert_in_loop();
  receiver_.pause();
  if (is_open() && !pumping_) update_events();
}

void StreamLink::resume_reading() {
  center_.assert_in_loop();
  receiver_.resume();
  if (!is_open() || pumping_) return;
  update_events();
  schedule_pump();
}

void StreamLink::abandon_payload(uint64_t tid) {
  center_.assert_in_loop();
  receiver_.abandon_payload(tid);
}

void StreamLink::remote_read(RemoteKey, RegisteredSlice, IoDone done) {
  post_done(center_, std::move(done), std::make_error_code(std::errc::operation_not_supported));
}
void StreamLink::remote_write(RegisteredSlice, RemoteKey, IoDone done) {
  post_done(center_, std::move(done), std::make_error_code(std::errc::operation_not_supported));
}

void StreamLink::update_events() {
  const FdEvents wanted = (wants_bytes() ? FdEvents::kRead : FdEvents::kNone) |
                          (write_blocked_ ? FdEvents::kWrite : FdEvents::kNone);
  if (started_) return stream_->set_events(wanted);
  if (wanted == FdEvents::kNone) return;
  started_ = true;
  const auto error = stream_->start(wanted, [this](FdEvents events) { on_ready(events); });
  if (error) fail(error);
}

void StreamLink::on_ready(FdEvents events) {
  const std::shared_ptr<bool> alive = alive_;
  if (has(events, FdEvents::kWrite) && write_blocked_) {
    write_blocked_ = false;
    flush();
    if (!*alive || !is_open()) return;
    update_events();
  }
  if (wants_bytes()) {
    if (has(events, FdEvents::kRead) || has(events, FdEvents::kHangUp)) pump();
  } else if (has(events, FdEvents::kHangUp)) {
    const std::error_code error = stream_->take_error();
    fail(error ? error : make_error_code(MsgrErrc::kClosedByPeer));
  }
}

// Bytes that were prefetched before a pause tell nobody that they are there.
void StreamLink::schedule_pump() {
  if (pump_posted_ || pumping_ || !wants_bytes() || prefetch_begin_ == prefetch_end_) return;
  pump_posted_ = true;
  center_.post([this, alive = alive_] {
    if (!*alive) return;
    pump_posted_ = false;
    pump();
  });
}

void StreamLink::pump() {
  const std::shared_ptr<bool> alive = alive_;
  if (pumping_ || !is_open()) return;
  pumping_ = true;
  const uint64_t before = counters_.bytes_received;
  bool drained = false;
  for (int reads = 0;; ++reads) {
    if (!decode_prefetched()) break;
    if (drained || reads == kReadsPerTurn || counters_.bytes_received - before >= kBytesPerTurn) {
      break;
    }
    if (!receive_once(drained)) break;
  }
  if (!*alive) return;
  pumping_ = false;
  if (is_open()) update_events();
}

bool StreamLink::decode_prefetched() {
  const std::shared_ptr<bool> alive = alive_;
  ConstBytes in(prefetch_.get() + prefetch_begin_, prefetch_end_ - prefetch_begin_);
  const bool goes_on = receiver_.feed(in);
  if (!*alive) return false;
  prefetch_begin_ = prefetch_end_ - in.size();
  return goes_on;
}

// One system call. REQUIRES: the prefetch buffer is empty. `drained`: it gave less than asked for.
bool StreamLink::receive_once(bool& drained) {
  if (!prefetch_) prefetch_.reset(new std::byte[kPrefetchBytes]);
  const Bytes target = receiver_.payload_target();
  const bool is_short = !target.empty() || receiver_.last_data_bytes() >= kLargePayload;
  const std::size_t ahead = is_short ? kShortReadAhead : kPrefetchBytes;
  const std::array<iovec, 2> parts = {iovec{target.data(), target.size()},
                                      iovec{prefetch_.get(), ahead}};
  ++counters_.receive_calls;
  const StreamResult result = stream_->receive(std::span(parts).subspan(target.empty() ? 1 : 0));
  if (result.error || result.end) {
    fail(result.error ? result.error : make_error_code(MsgrErrc::kClosedByPeer));
    return false;
  }
  counters_.bytes_received += result.bytes;
  drained = result.bytes < target.size() + ahead;
  const std::size_t placed = std::min(result.bytes, target.size());
  prefetch_begin_ = 0;
  prefetch_end_ = result.bytes - placed;
  return placed == 0 || receiver_.payload_received(placed);
}

void StreamLink::receive_resumed() {
  if (wants_bytes()) pump();
}

std::vector<IoDone> StreamLink::take_unsent() {
  std::vector<IoDone> unsent;
  for (std::size_t i = queue_head_; i < queue_.size(); ++i) {
    if (queue_[i].sent) unsent.push_back(std::move(queue_[i].sent));
  }
  queue_.clear();
  queue_head_ = head_sent_ = queued_bytes_ = 0;
  return unsent;
}

// From here on nothing of ours is read, written or kept.
std::unique_ptr<StreamLink::Ended> StreamLink::end(State state, std::error_code why) {
  state_ = state;
  error_ = why;
  stream_.reset();
  receiver_.stop();
  auto ended = std::make_unique<Ended>();
  ended->unsent = take_unsent();
  ended->why = why;
  return ended;
}

void StreamLink::fail(std::error_code why) {
  if (!is_open()) return;
  center_.post([this, alive = alive_, ended = end(State::kFailed, why)] {
    ended->run();
    if (*alive) report_failure();
  });
}

void StreamLink::report_failure() {
  if (state_ != State::kFailed || failure_reported_ || receiver_.handler() == nullptr) return;
  failure_reported_ = true;
  receiver_.handler()->on_closed(error_);  // may destroy this
}

void StreamLink::close(InlineFunction<void()> closed) {
  center_.assert_in_loop();
  auto ended = end(State::kClosed, MsgrErrc::kClosed);
  ended->closed = std::move(closed);
  center_.post([ended = std::move(ended)] { ended->run(); });
}

}  // namespace lunar::msgr
