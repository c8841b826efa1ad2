// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <memory>
#include <system_error>
#include <variant>
#include <vector>

#include "common/task.h"
#include "msgr/awaiters.h"
#include "msgr/event_center.h"
#include "msgr/net/link.h"
#include "msgr/session/handshake_messages.h"
#include "msgr/tls/tls_stream.h"

namespace lunar::msgr {

// Of a frame of a handshake; docs/protocol.md §3.
inline constexpr uint32_t kMaxHandshakeFront = 4096;

// A link during its handshake: one coroutine sends and awaits its frames. Ends by itself with
// kTimedOut when the handshake takes too long.
// Loop-bound. Owns the link until release() or the end of close(); one of them comes before the
// destructor.
class FrameChannel final : public LinkHandler {
 public:
  FrameChannel(EventCenter& center, std::unique_ptr<Link> link, std::chrono::nanoseconds timeout);
  ~FrameChannel();
  FrameChannel(const FrameChannel&) = delete;
  FrameChannel& operator=(const FrameChannel&) = delete;

  // `Result<ReceivedFrame> frame = co_await channel.receive();` The coroutine is resumed inside the
  // link's callback, so that it can release() the link before the next frame is delivered.
  Inbox<ReceivedFrame>::Next receive() noexcept { return frames_.next(); }
  void send(FrameTag tag, std::vector<std::byte> front);
  // Continues inside TLS: frames sent before this call leave in the clear, later ones inside. Await
  // secured() before sending:
  //   channel.secure(std::move(party));
  //   Result<tls::ChannelBinding> binding = co_await channel.secured();
  // which gives what only the two ends of this TLS connection know, or why the link ended. Once.
  // REQUIRES: the link can be wrapped.
  void secure(tls::TlsParty party);
  Inbox<tls::ChannelBinding>::Next secured() noexcept { return binding_.next(); }
  // Until it is called with an empty one, `tap` gets what receive() would give, at once. The end
  // comes there and stays with receive().
  using Tap = InlineFunction<void(Result<ReceivedFrame>)>;
  void set_tap(Tap tap) {
    tap_ = std::move(tap);
    was_replaced_ = true;
  }
  // The next frame that receive() gives. REQUIRES: none is waiting to be received.
  void put_back(ReceivedFrame frame) { frames_.push(std::move(frame)); }
  // Has receive() end with `why`, resuming its coroutine inside the call, and starts closing.
  void abort(std::error_code why);
  // Closes the link and waits until that is done. With an error the peer is told first, if it
  // reads.
  Task<void> close();
  Task<void> close_with(HandshakeError error);
  // Gives the link up, still open, for another handler. REQUIRES: not has_ended().
  std::unique_ptr<Link> release();

  bool has_ended() const noexcept { return frames_.is_closed(); }
  bool is_closing() const noexcept { return is_closing_; }  // by us
  const Link& link() const noexcept { return *link_; }

 private:
  Bytes payload_for(const FrameHeader& header, ConstBytes front) override;
  uint32_t max_front_bytes() const noexcept override { return kMaxHandshakeFront; }
  void on_frame(ReceivedFrame frame) override;
  void on_closed(std::error_code why) override;
  void begin_close();
  void tell_tap(Result<ReceivedFrame> what);

  EventCenter& center_;
  std::unique_ptr<Link> link_;
  TimerId timer_ = TimerId::kNone;
  int frames_left_;  // a peer that says more than a handshake has is not in one
  bool is_closing_ = false;
  Tap tap_;
  bool was_replaced_ = false;  // the tap, from within itself
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Inbox<ReceivedFrame> frames_;
  bool is_securing_ = false;  // until the binding is there or the link ended
  Inbox<tls::ChannelBinding> binding_;
  Inbox<std::monostate> sent_;
  Inbox<std::monostate> closed_;
};

}  // namespace lunar::msgr
