// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/frame_channel.h"

#include <utility>

#include "common/check.h"

namespace lunar::msgr {
namespace {

constexpr int kMaxHandshakeFrames = 16;

}  // namespace

FrameChannel::FrameChannel(EventCenter& center, std::unique_ptr<Link> link,
                           std::chrono::nanoseconds timeout)
    : center_(center), link_(std::move(link)), frames_left_(kMaxHandshakeFrames) {
  timer_ = center_.run_after(timeout, [this] {
    timer_ = TimerId::kNone;
    abort(make_error_code(MsgrErrc::kTimedOut));
  });
  link_->set_handler(this);
}

FrameChannel::~FrameChannel() {
  LUNAR_CHECK(link_ == nullptr, "a handshake's link was neither closed nor handed on");
  center_.cancel(timer_);
  *alive_ = false;
}

void FrameChannel::send(FrameTag tag, std::vector<std::byte> front) {
  if (is_closing_) return;
  Frame frame;
  frame.header.tag = static_cast<uint8_t>(tag);
  frame.front = std::move(front);
  link_->send(std::move(frame), {});
}

void FrameChannel::abort(std::error_code why) {
  begin_close();
  const bool had_ended = frames_.is_closed();
  const bool was_securing = std::exchange(is_securing_, false);
  frames_.cancel(why);  // nobody awaits it while there is a tap, or while TLS begins
  if (was_securing) return binding_.close(why);  // may destroy this
  if (!had_ended && tap_) tell_tap(failure(why));
}

void FrameChannel::secure(tls::TlsParty party) {
  if (has_ended()) return binding_.close(make_error_code(MsgrErrc::kClosed));
  is_securing_ = true;
  link_->wrap_stream(std::make_unique<tls::TlsWrap>(
      std::move(party), [this, alive = alive_](const tls::ChannelBinding& binding) {
        if (!*alive || !std::exchange(is_securing_, false)) return;
        binding_.push(binding);  // may destroy this
      }));
}

Task<void> FrameChannel::close() {
  begin_close();
  Result<std::monostate> closed = co_await closed_.next();
  LUNAR_CHECK(closed.has_value(), "nobody closes this inbox");
  link_.reset();
}

Task<void> FrameChannel::close_with(HandshakeError error) {
  if (!is_closing_ && !has_ended()) {
    Frame frame;
    frame.header.tag = static_cast<uint8_t>(FrameTag::kHandshakeError);
    frame.front = error.encode();
    link_->send(std::move(frame), [this](std::error_code) { sent_.push({}); });
    // The handshake's timer bounds this: it closes the link, and that ends the send.
    Result<std::monostate> sent = co_await sent_.next();
    LUNAR_CHECK(sent.has_value(), "nobody closes this inbox");
  }
  co_await close();
}

std::unique_ptr<Link> FrameChannel::release() {
  LUNAR_CHECK(!has_ended() && !is_closing_, "release() of a link that has ended");
  center_.cancel(std::exchange(timer_, TimerId::kNone));
  return std::move(link_);
}

Bytes FrameChannel::payload_for(const FrameHeader&, ConstBytes) {
  // No frame of a handshake has data; a peer gets payload memory only when its session is open.
  abort(make_error_code(MsgrErrc::kBadFrame));
  return {};
}

void FrameChannel::on_frame(ReceivedFrame frame) {
  if (is_closing_) return;
  if (--frames_left_ < 0) {
    abort(make_error_code(MsgrErrc::kBadTag));
    return;
  }
  if (tap_) {
    tell_tap(std::move(frame));  // may destroy this
  } else {
    frames_.push(std::move(frame));  // may destroy this
  }
}

void FrameChannel::on_closed(std::error_code why) {
  if (std::exchange(is_securing_, false)) {
    frames_.close(why);   // nobody awaits it
    binding_.close(why);  // may destroy this
    return;
  }
  if (!tap_) return frames_.close(why);  // may destroy this
  frames_.close(why);
  tell_tap(failure(why));  // may destroy this
}

void FrameChannel::tell_tap(Result<ReceivedFrame> what) {
  // It may take itself away, and with it this channel.
  Tap tap = std::move(tap_);
  const std::shared_ptr<bool> alive = alive_;
  was_replaced_ = false;
  tap(std::move(what));
  if (*alive && !was_replaced_) tap_ = std::move(tap);
}

void FrameChannel::begin_close() {
  if (std::exchange(is_closing_, true)) return;
  center_.cancel(std::exchange(timer_, TimerId::kNone));
  // One turn later, so that the link is not destroyed inside its own callback.
  link_->close([this] { center_.post([this] { closed_.push({}); }); });
}

}  // namespace lunar::msgr
