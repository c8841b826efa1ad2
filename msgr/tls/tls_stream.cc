// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/tls/tls_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "msgr/errors.h"
#include "msgr/tls/tls_engine.h"

// Sending. Bytes are gathered into records of the largest size, the records into out_, and out_
// goes to the stream below when it holds four of them, or at the end of a call. While the stream
// below takes no more, nothing more is made into records: out_ is bounded.
//
// Receiving. Bytes are received into in_, and GnuTLS takes records from there. When a call ends
// because its room is used up, nobody below tells of the records that are left: has_more_ says that
// there may be some, and the stream tells itself, one turn later, for as long as that is so.

namespace lunar::msgr::tls {
namespace {

constexpr std::size_t kRecordBytes = 16u << 10;      // RFC 8446 5.1: of plain text, at most
constexpr std::size_t kOutBytes = 4 * kRecordBytes;  // of out_: it is sent from here on
constexpr std::size_t kInBytes = 64u << 10;
constexpr std::size_t kHandshakeInBytes = 1u << 10;  // before the peer has proven anything
constexpr std::size_t kBytesPerCall = 1u << 20;      // then others have their turn

// The bytes of an array of spans, in order. Borrows all of it.
class IovecCursor {
 public:
  explicit IovecCursor(std::span<const iovec> iovecs) noexcept : iovecs_(iovecs) { skip_empty(); }
  bool is_at_end() const noexcept { return iovecs_.empty(); }
  // What lies together here.
  Bytes contiguous() const noexcept {
    return Bytes(static_cast<std::byte*>(iovecs_[0].iov_base), iovecs_[0].iov_len).subspan(offset_);
  }
  // REQUIRES: bytes <= contiguous().size().
  void advance(std::size_t bytes) noexcept {
    offset_ += bytes;
    skip_empty();
  }

 private:
  void skip_empty() noexcept {
    while (!iovecs_.empty() && offset_ == iovecs_[0].iov_len) {
      iovecs_ = iovecs_.subspan(1);
      offset_ = 0;
    }
  }
  std::span<const iovec> iovecs_;  // from the one that is not used up
  std::size_t offset_ = 0;         // in the first of them
};

// Loop-bound. Owns the stream below; borrows the center.
class TlsStream final : public ByteStream, private RecordTransport {
 public:
  TlsStream(EventCenter& center, std::unique_ptr<ByteStream> below, std::vector<std::byte> unread,
            TlsParty party, TlsWrap::HandshakeDone done)
      : center_(center),
        below_(std::move(below)),
        done_(std::move(done)),
        in_(std::move(unread)),
        in_end_(in_.size()),
        engine_(std::move(party), *this) {
    below_events_ = FdEvents::kRead;
    error_ = below_->start(below_events_, [this](FdEvents events) { on_below(events); });
    // The connector speaks first; and what was read ahead tells nobody that it is there.
    center_.post([this, alive = alive_] {
      if (*alive) on_below(FdEvents::kNone);
    });
  }
  ~TlsStream() override { *alive_ = false; }

  StreamResult send(std::span<const iovec> iovecs) override;
  StreamResult receive(std::span<const iovec> iovecs) override;

  std::error_code start(FdEvents events, InlineFunction<void(FdEvents)> on_ready) override {
    on_ready_ = std::move(on_ready);
    set_events(events);
    return {};
  }
  void set_events(FdEvents events) override {
    wanted_ = events;
    update_below();
    tell_later();
  }
  std::error_code take_error() noexcept override { return error_ ? error_ : below_->take_error(); }
  Address local_address() const override { return below_->local_address(); }
  Address peer_address() const override { return below_->peer_address(); }

 private:
  enum class State : uint8_t { kHandshake, kOpen, kBroken };

  // RecordTransport
  ssize_t pull_record(Bytes into, int& error) override;
  void push_record(ConstBytes from) override {
    if (out_.empty()) out_.reserve(kOutBytes + 2 * kRecordBytes);
    out_.insert(out_.end(), from.begin(), from.end());
  }

  void on_below(FdEvents events);
  void continue_handshake();
  bool flush();
  std::size_t make_record(IovecCursor& from);
  void fail(std::error_code why);
  FdEvents ready(FdEvents events) const noexcept;
  void tell(FdEvents events);
  void tell_later();
  void update_below();

  EventCenter& center_;
  const std::unique_ptr<ByteStream> below_;
  TlsWrap::HandshakeDone done_;                                       // empty once it ran
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // false once destroyed
  State state_ = State::kHandshake;
  std::error_code error_;                    // what send() and receive() give; set if kBroken
  InlineFunction<void(FdEvents)> on_ready_;  // empty before start(), and while it is called
  FdEvents wanted_ = FdEvents::kNone;
  FdEvents below_events_ = FdEvents::kNone;
  bool has_more_ = false;         // receive() ended before the stream below was empty
  bool has_ended_ = false;        // … and this one sends no more
  bool has_below_ended_ = false;  // the stream below sends no more
  bool is_call_posted_ = false;
  std::vector<std::byte> in_;  // received and not yet taken by GnuTLS: from in_begin_ to in_end_
  std::size_t in_begin_ = 0;
  std::size_t in_end_;
  std::vector<std::byte> out_;  // records that the stream below has not taken: from out_begin_ on
  std::size_t out_begin_ = 0;
  std::unique_ptr<std::array<std::byte, kRecordBytes>> gathered_;  // made when first needed
  TlsEngine engine_;
};

// --- records ---

ssize_t TlsStream::pull_record(Bytes into, int& error) {
  if (in_begin_ == in_end_) {
    in_.resize(state_ == State::kHandshake ? kHandshakeInBytes : kInBytes);
    const iovec room{in_.data(), in_.size()};
    const StreamResult result = below_->receive(std::span(&room, 1));
    in_begin_ = in_end_ = 0;
    if (result.error) {
      fail(result.error);
      error = EIO;
      return -1;
    }
    if (result.has_ended) {
      has_below_ended_ = true;
      return 0;
    }
    if (result.bytes == 0) {
      error = EAGAIN;
      return -1;
    }
    in_end_ = result.bytes;
  }
  const std::size_t taken = std::min(into.size(), in_end_ - in_begin_);
  std::memcpy(into.data(), in_.data() + in_begin_, taken);
  in_begin_ += taken;
  return static_cast<ssize_t>(taken);
}

// Whether all of out_ has left. The link hears of an error where it looks next.
bool TlsStream::flush() {
  while (out_begin_ < out_.size()) {
    const iovec rest{out_.data() + out_begin_, out_.size() - out_begin_};
    const StreamResult result = below_->send(std::span(&rest, 1));
    if (result.error) {
      fail(result.error);
      return false;
    }
    if (result.bytes == 0) return false;
    out_begin_ += result.bytes;
  }
  out_.clear();
  out_begin_ = 0;
  return true;
}

void TlsStream::fail(std::error_code why) {
  if (!error_) error_ = why;
  state_ = State::kBroken;
}

// --- the handshake ---

void TlsStream::continue_handshake() {
  const int result = engine_.handshake();
  if (result == GNUTLS_E_SUCCESS) {
    state_ = State::kOpen;
    has_more_ = in_begin_ != in_end_ || engine_.has_plain_text();
    flush();
    const ChannelBinding binding = engine_.finish_handshake();
    return std::exchange(done_, {})(binding);  // may destroy this
  }
  if (::gnutls_error_is_fatal(result) == 0) {
    flush();
    return;
  }
  if (!error_) {
    engine_.send_alert(result);
    flush();
    // Of a side that gives up without a word nothing is known.
    fail(make_error_code(has_below_ended_ ? MsgrErrc::kClosedByPeer : MsgrErrc::kAuthFailed));
  }
}

// --- sending ---

std::size_t TlsStream::make_record(IovecCursor& from) {
  Bytes record = from.contiguous();
  if (record.size() >= kRecordBytes) {
    record = record.first(kRecordBytes);
    from.advance(kRecordBytes);
  } else {
    if (gathered_ == nullptr) gathered_.reset(new std::array<std::byte, kRecordBytes>);
    std::size_t length = 0;
    while (!from.is_at_end() && length < kRecordBytes) {
      const Bytes bytes = from.contiguous();
      const std::size_t taken = std::min(bytes.size(), kRecordBytes - length);
      std::memcpy(gathered_->data() + length, bytes.data(), taken);
      from.advance(taken);
      length += taken;
    }
    record = Bytes(*gathered_).first(length);
  }
  const ssize_t sent = engine_.send(record);
  if (sent == static_cast<ssize_t>(record.size())) return record.size();
  fail(make_error_code(MsgrErrc::kBadRecord));  // push_record() takes everything
  return 0;
}

StreamResult TlsStream::send(std::span<const iovec> iovecs) {
  if (error_) return StreamResult::failed(error_);
  StreamResult result;
  IovecCursor from(iovecs);
  while (state_ == State::kOpen && !from.is_at_end() && result.bytes < kBytesPerCall) {
    if (out_.size() >= kOutBytes && !flush()) break;
    result.bytes += make_record(from);
  }
  flush();
  update_below();
  if (error_) return StreamResult::failed(error_);
  result.would_block = result.bytes == 0;
  return result;
}

// --- receiving ---

StreamResult TlsStream::receive(std::span<const iovec> iovecs) {
  StreamResult result;
  IovecCursor into(iovecs);
  has_more_ = !error_ && !has_ended_;
  while (has_more_ && state_ == State::kOpen && !into.is_at_end() && result.bytes < kBytesPerCall) {
    const ssize_t received = engine_.receive(into.contiguous());
    if (received > 0) {
      into.advance(static_cast<std::size_t>(received));
      result.bytes += static_cast<std::size_t>(received);
    } else if (TlsEngine::is_blocked(received)) {
      has_more_ = false;
    } else if (has_below_ended_ || received == 0) {
      has_ended_ = true;
      has_more_ = false;
    } else if (::gnutls_error_is_fatal(static_cast<int>(received)) != 0) {
      if (!error_) {
        engine_.send_alert(static_cast<int>(received));
        fail(make_error_code(MsgrErrc::kBadRecord));
      }
      has_more_ = false;
    }
  }
  if (!out_.empty()) flush();  // what TLS had to answer
  update_below();
  if (result.bytes > 0) {
    has_more_ = has_more_ || error_ || has_ended_;  // to be told of next
    return result;
  }
  if (error_) return StreamResult::failed(error_);
  result.has_ended = has_ended_;
  result.would_block = !has_ended_;
  return result;
}

// --- readiness ---

void TlsStream::on_below(FdEvents events) {
  const std::shared_ptr<bool> alive = alive_;
  if (state_ == State::kHandshake && !error_) continue_handshake();
  if (!*alive) return;
  if (has(events, FdEvents::kWrite) && !error_) flush();
  update_below();
  tell(events);
}

FdEvents TlsStream::ready(FdEvents events) const noexcept {
  FdEvents told = FdEvents::kNone;
  const bool is_open = state_ == State::kOpen;
  if (error_) return FdEvents::kRead | FdEvents::kWrite | FdEvents::kHangUp;
  if (is_open && (has_more_ || has(events, FdEvents::kRead))) told = told | FdEvents::kRead;
  if (is_open && out_.empty()) told = told | FdEvents::kWrite;
  if (is_open && has(events, FdEvents::kHangUp)) told = told | FdEvents::kHangUp;
  return told;
}

void TlsStream::tell(FdEvents events) {
  const auto wanted = static_cast<uint32_t>(wanted_ | FdEvents::kHangUp);
  const auto told = static_cast<FdEvents>(static_cast<uint32_t>(ready(events)) & wanted);
  if (told == FdEvents::kNone || !on_ready_) return;
  const std::shared_ptr<bool> alive = alive_;
  auto on_ready = std::move(on_ready_);  // the callback may destroy this stream
  on_ready(told);
  if (!*alive) return;
  if (!on_ready_) on_ready_ = std::move(on_ready);  // unless it called start()
  tell_later();
}

// For what no event below tells of.
void TlsStream::tell_later() {
  const bool has_news = error_ || (has_more_ && has(wanted_, FdEvents::kRead));
  if (!has_news || is_call_posted_ || !on_ready_) return;
  is_call_posted_ = true;
  center_.post([this, alive = alive_] {
    if (!*alive) return;
    is_call_posted_ = false;
    tell(FdEvents::kNone);
  });
}

void TlsStream::update_below() {
  const bool reads = state_ == State::kHandshake || has(wanted_, FdEvents::kRead);
  const bool writes = !out_.empty() || (state_ == State::kOpen && has(wanted_, FdEvents::kWrite));
  const FdEvents events = error_ ? FdEvents::kNone
                                 : (reads ? FdEvents::kRead : FdEvents::kNone) |
                                       (writes ? FdEvents::kWrite : FdEvents::kNone);
  if (events == below_events_) return;
  below_events_ = events;
  below_->set_events(events);
}

}  // namespace

std::unique_ptr<ByteStream> TlsWrap::wrap(EventCenter& center, std::unique_ptr<ByteStream> below,
                                          std::vector<std::byte> unread) {
  return std::make_unique<TlsStream>(center, std::move(below), std::move(unread), std::move(party_),
                                     std::move(done_));
}

}  // namespace lunar::msgr::tls
