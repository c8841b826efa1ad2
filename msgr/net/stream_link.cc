// SPDX-License-Identifier: LGPL-2.1-or-later
//
// send() only queues; one posted function per turn gathers what the turn queued, so that many small
// frames leave with one system call. `sent` callbacks run after the queue is consistent again: they
// may send. Reading is bounded per turn, so that one link cannot keep the loop.

#include "msgr/net/stream_link.h"

#include <span>
#include <utility>

#include "msgr/errors.h"

namespace lunar::msgr {
namespace {

// What one link may do before others have their turn; epoll brings it back.
constexpr int kReadsPerTurn = 8;
constexpr std::size_t kBytesPerTurn = 4u << 20;

constexpr std::size_t kReadAhead = 64u << 10;
constexpr std::size_t kHandshakeReadAhead = 1u << 10;

void run_all(std::vector<IoDone>& unsent, std::error_code why) {
  for (IoDone& sent : unsent) sent(why);
}

}  // namespace

StreamLink::StreamLink(EventCenter& center, std::unique_ptr<ByteStream> stream, BufferPool& pool,
                       const StreamLinkOptions& options)
    : center_(center),
      options_(options),
      local_(stream->local_address()),
      peer_(stream->peer_address()),
      alive_(std::make_shared<bool>(true)),
      stream_(std::move(stream)),
      receiver_(center, pool, options.limits, *this, counters_),
      reader_(receiver_, counters_) {
  capabilities_.eager_bytes = options.limits.max_data_bytes;
  capabilities_.can_wrap = true;
}

StreamLink::~StreamLink() {
  *alive_ = false;
  auto unsent = end(State::kClosed, MsgrErrc::kClosed);
  if (unsent.empty()) return;
  center_.post([unsent = std::move(unsent)]() mutable { run_all(unsent, MsgrErrc::kClosed); });
}

void StreamLink::set_handler(LinkHandler* handler) {
  center_.assert_in_loop();
  receiver_.set_handler(handler);
  // A link in its handshake costs what it sends.
  const std::size_t longest = handler == nullptr ? 0 : handler->max_front_bytes();
  reader_.set_read_ahead(longest < kReadAhead ? kHandshakeReadAhead : kReadAhead);
  if (state_ == State::kFailed) {
    center_.post([this, alive = alive_] {
      if (*alive) report_failure();
    });
  }
  if (!is_open()) return;
  update_events();
  schedule_read();
}

void StreamLink::pause_reading() {
  center_.assert_in_loop();
  receiver_.pause();
  if (is_open() && !is_reading_) update_events();
}

void StreamLink::resume_reading() {
  center_.assert_in_loop();
  receiver_.resume();
  if (!is_open() || is_reading_) return;
  update_events();
  schedule_read();
}

void StreamLink::abandon_payload(uint64_t tid) {
  center_.assert_in_loop();
  receiver_.abandon_payload(tid);
}

void StreamLink::remote_read(RemoteKey, RegisteredSlice, IoDone done) {
  center_.post_done(std::move(done), std::make_error_code(std::errc::operation_not_supported));
}
void StreamLink::remote_write(RegisteredSlice, RemoteKey, IoDone done) {
  center_.post_done(std::move(done), std::make_error_code(std::errc::operation_not_supported));
}

// --- events of the stream ---

void StreamLink::update_events() {
  const FdEvents wanted = (wants_bytes() ? FdEvents::kRead : FdEvents::kNone) |
                          (is_write_blocked_ ? FdEvents::kWrite : FdEvents::kNone);
  if (is_started_) return stream_->set_events(wanted);
  if (wanted == FdEvents::kNone) return;
  is_started_ = true;
  const auto error = stream_->start(wanted, [this](FdEvents events) { on_ready(events); });
  if (error) fail(error);
}

void StreamLink::on_ready(FdEvents events) {
  const std::shared_ptr<bool> alive = alive_;
  if (has(events, FdEvents::kWrite) && is_write_blocked_) {
    is_write_blocked_ = false;
    flush();
    if (!*alive || !is_open()) return;
    update_events();
  }
  if (wants_bytes()) {
    if (has(events, FdEvents::kRead) || has(events, FdEvents::kHangUp)) read();
  } else if (has(events, FdEvents::kHangUp)) {
    const std::error_code error = stream_->take_error();
    fail(error ? error : make_error_code(MsgrErrc::kClosedByPeer));
  }
}

// --- another stream ---

void StreamLink::wrap_stream(std::unique_ptr<StreamWrap> wrap) {
  center_.assert_in_loop();
  if (!is_open()) return;
  wrap_ = std::move(wrap);
  receiver_.set_held(true);
  if (!is_reading_) update_events();
  if (queue_.is_empty()) schedule_wrap();
}

// One turn later: neither inside a callback of the stream nor while the reader decodes.
void StreamLink::schedule_wrap() {
  center_.post([this, alive = alive_] {
    if (*alive && is_open()) wrap();
  });
}

void StreamLink::wrap() {
  stream_ = std::exchange(wrap_, nullptr)->wrap(center_, std::move(stream_), reader_.take_unread());
  is_started_ = false;
  receiver_.set_held(false);
  update_events();
}

// --- sending ---

void StreamLink::send(Frame frame, IoDone sent) {
  center_.assert_in_loop();
  if (!is_open()) return center_.post_done(std::move(sent), error_);
  if (const auto error = seal_outgoing(frame, options_.limits, options_.crc_data)) {
    return center_.post_done(std::move(sent), error);
  }
  queue_.push(std::move(frame), std::move(sent));
  schedule_flush();
}

void StreamLink::schedule_flush() {
  if (is_flush_posted_ || is_write_blocked_) return;
  is_flush_posted_ = true;
  center_.post([this, alive = alive_] {
    if (!*alive) return;
    is_flush_posted_ = false;
    flush();
  });
}

void StreamLink::flush() {
  if (!is_open() || is_write_blocked_ || queue_.is_empty()) return;
  StreamSendQueue::Gathered gathered;
  queue_.gather(gathered);
  ++counters_.send_calls;
  const StreamResult result = stream_->send(std::span(gathered.iovecs).first(gathered.count));
  if (result.error) return fail(result.error);
  counters_.bytes_sent += result.bytes;
  if (result.bytes < gathered.bytes) {
    is_write_blocked_ = true;
    update_events();
    if (!is_open()) return;
  }
  std::vector<IoDone> finished = std::move(finished_);
  counters_.frames_sent += queue_.advance(result.bytes, finished);
  if (!queue_.is_empty()) schedule_flush();
  if (queue_.is_empty() && wrap_ != nullptr) schedule_wrap();
  const std::shared_ptr<bool> alive = alive_;
  run_all(finished, {});
  if (!*alive) return;
  finished.clear();
  finished_ = std::move(finished);
}

// --- receiving ---

// Bytes that were read ahead before a pause tell nobody that they are there.
void StreamLink::schedule_read() {
  if (is_read_posted_ || is_reading_ || !wants_bytes() || !reader_.has_unread()) return;
  is_read_posted_ = true;
  center_.post([this, alive = alive_] {
    if (!*alive) return;
    is_read_posted_ = false;
    read();
  });
}

void StreamLink::read() {
  const std::shared_ptr<bool> alive = alive_;
  if (is_reading_ || !is_open()) return;
  is_reading_ = true;
  const uint64_t before = counters_.bytes_received;
  bool has_drained = false;
  for (int reads = 0; reader_.decode(); ++reads) {
    if (has_drained || reads == kReadsPerTurn ||
        counters_.bytes_received - before >= kBytesPerTurn) {
      break;
    }
    const StreamReader::Received received = reader_.receive(*stream_);
    const std::error_code error = received.result.error;
    if (error || received.result.has_ended) {
      fail(error ? error : make_error_code(MsgrErrc::kClosedByPeer));
      break;
    }
    has_drained = received.has_drained;
    const std::size_t placed = received.placed_bytes;
    if (placed != 0 && !receiver_.feed_payload(placed)) break;
  }
  if (!*alive) return;
  is_reading_ = false;
  if (is_open()) update_events();
}

void StreamLink::receive_resumed() {
  if (wants_bytes()) read();
}

// --- the end ---

// From here on nothing of ours is read, written or kept. Returns what is still to be told.
std::vector<IoDone> StreamLink::end(State state, std::error_code why) {
  state_ = state;
  error_ = why;
  stream_.reset();
  wrap_.reset();
  receiver_.stop();
  return queue_.take_unsent();
}

void StreamLink::fail(std::error_code why) {
  if (!is_open()) return;
  auto unsent = end(State::kFailed, why);
  center_.post([this, alive = alive_, unsent = std::move(unsent), why]() mutable {
    run_all(unsent, why);
    if (*alive) report_failure();
  });
}

void StreamLink::report_failure() {
  if (state_ != State::kFailed || was_failure_reported_ || receiver_.handler() == nullptr) return;
  was_failure_reported_ = true;
  receiver_.handler()->on_closed(error_);  // may destroy this
}

void StreamLink::close(InlineFunction<void()> closed) {
  center_.assert_in_loop();
  auto unsent = end(State::kClosed, MsgrErrc::kClosed);
  if (!unsent.empty()) {
    center_.post([unsent = std::move(unsent)]() mutable { run_all(unsent, MsgrErrc::kClosed); });
  }
  if (closed) center_.post(std::move(closed));
}

}  // namespace lunar::msgr
