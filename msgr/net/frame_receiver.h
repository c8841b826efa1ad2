// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <system_error>

#include "msgr/buffer.h"
#include "msgr/event_center.h"
#include "msgr/net/link.h"
#include "msgr/wire/frame_decoder.h"

namespace lunar::msgr {

// What every transport does with the bytes that arrive: decode, find a place for the payload, wait
// for memory, deliver.
// Loop-bound. Part of a link; borrows center and pool. A function that returns bool says whether to
// go on: the link may be paused, waiting for memory, over or destroyed.
class FrameReceiver {
 public:
  // The link that it is part of.
  struct Owner {
    // The bytes are no frames. The owner calls stop().
    virtual void on_receive_failed(std::error_code why) = 0;
    // Memory is there again.
    virtual void receive_resumed() = 0;

   protected:
    ~Owner() = default;
  };
  FrameReceiver(EventCenter& center, BufferPool& pool, const FrameLimits& limits, Owner& owner,
                LinkCounters& counters);
  ~FrameReceiver() { stop(); }
  FrameReceiver(const FrameReceiver&) = delete;
  FrameReceiver& operator=(const FrameReceiver&) = delete;

  void set_handler(LinkHandler* handler) noexcept {
    handler_ = handler;
    if (handler != nullptr) decoder_.set_max_front(handler->max_front_bytes());
  }
  LinkHandler* handler() const noexcept { return handler_; }
  void pause() noexcept { is_paused_ = true; }
  void resume();
  // As pause() and resume(), for the link itself.
  void set_held(bool is_held) noexcept { is_held_ = is_held; }
  // Somebody wants frames, and there is memory for them.
  bool wants_bytes() const noexcept {
    return !is_stopped_ && handler_ != nullptr && !is_paused_ && !is_held_ &&
           stall_timer_ == TimerId::kNone;
  }

  // Takes bytes from the front of `in`, which is not this object's and shortened by them.
  // REQUIRES: wants_bytes().
  bool feed(ConstBytes& in);
  // Where payload may be received without a copy; empty if none is placed.
  Bytes payload_target() const noexcept { return decoder_.payload_target(); }
  // That many bytes were received there.
  bool feed_payload(std::size_t length) { return handle(decoder_.payload_received(length)); }
  // Of the frame whose data arrives, or else of the last one delivered.
  std::size_t last_data_bytes() const noexcept { return last_data_bytes_; }

  void abandon_payload(uint64_t tid);
  // Nothing is delivered, and no memory touched, from here on.
  void stop();

 private:
  bool handle(FrameDecoder::DecodeEvent event);
  bool place_payload();
  bool place_in_pool();
  void retry_stalled();

  EventCenter& center_;
  BufferPool& pool_;
  Owner& owner_;
  LinkCounters& counters_;
  const std::shared_ptr<bool> alive_;  // false once stopped
  FrameDecoder decoder_;
  LinkHandler* handler_ = nullptr;
  std::size_t last_data_bytes_ = 0;
  bool is_paused_ = false;
  bool is_held_ = false;
  bool is_stopped_ = false;
  TimerId stall_timer_ = TimerId::kNone;  // set while the payload at hand waits for memory, or …
  bool is_unwanted_ = false;              // … for the handler to admit it
};

}  // namespace lunar::msgr
