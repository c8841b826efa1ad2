// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/net/frame_receiver.h"

#include <chrono>
#include <utility>

namespace lunar::msgr {
namespace {

constexpr std::chrono::milliseconds kStallRetry{2};
constexpr std::chrono::milliseconds kUnwantedRetry{20};  // the handler may resume() before

}  // namespace

FrameReceiver::FrameReceiver(EventCenter& center, BufferPool& pool, const FrameLimits& limits,
                             Owner& owner, LinkCounters& counters)
    : center_(center),
      pool_(pool),
      owner_(owner),
      counters_(counters),
      alive_(std::make_shared<bool>(true)),
      decoder_(limits) {}

void FrameReceiver::stop() {
  *alive_ = false;
  is_stopped_ = true;
  center_.cancel(std::exchange(stall_timer_, TimerId::kNone));
  if (decoder_.awaits_placement() || !decoder_.payload_target().empty()) decoder_.skip_payload();
}

void FrameReceiver::abandon_payload(uint64_t tid) {
  if (!is_stopped_ && decoder_.fills_borrowed() && decoder_.header().tid.value() == tid) {
    decoder_.skip_payload();
  }
}

bool FrameReceiver::feed(ConstBytes& in) {
  while (wants_bytes()) {
    if (in.empty()) return true;
    if (!handle(decoder_.feed(in))) return false;
  }
  return false;
}

bool FrameReceiver::handle(FrameDecoder::DecodeEvent event) {
  switch (event) {
    case FrameDecoder::DecodeEvent::kNeedBytes:
      return true;
    case FrameDecoder::DecodeEvent::kPayload:
      last_data_bytes_ = decoder_.header().data_length.value();
      return place_payload();
    case FrameDecoder::DecodeEvent::kFrame: {
      const std::shared_ptr<bool> alive = alive_;
      ++counters_.frames_received;
      last_data_bytes_ = decoder_.header().data_length.value();
      handler_->on_frame(decoder_.take_frame());
      return *alive;
    }
    case FrameDecoder::DecodeEvent::kError:
      owner_.on_receive_failed(decoder_.error());
      return false;
  }
  return false;
}

bool FrameReceiver::place_payload() {
  const std::shared_ptr<bool> alive = alive_;
  const Bytes target = handler_->payload_for(decoder_.header(), decoder_.front());
  if (!*alive) return false;
  if (target.empty()) {
    if (place_in_pool()) return true;
    if (!is_unwanted_) ++counters_.memory_stalls;
    return false;
  }
  decoder_.place_payload(target);
  return true;
}

void FrameReceiver::resume() {
  is_paused_ = false;
  // Not inside the call: it may come from anywhere.
  if (!is_unwanted_ || stall_timer_ == TimerId::kNone) return;
  center_.cancel(stall_timer_);
  stall_timer_ = center_.run_after({}, [this] { retry_stalled(); });
}

bool FrameReceiver::place_in_pool() {
  is_unwanted_ = !handler_->can_take_payload();
  if (!is_unwanted_) {
    RegisteredBuffer buffer = pool_.allocate(decoder_.header().data_length.value());
    if (buffer) {
      decoder_.place_payload(std::move(buffer));
      return true;
    }
  }
  // Back-pressure: no reading until memory is back. Pools do not tell, so ask now and then.
  const auto pause = is_unwanted_ ? kUnwantedRetry : kStallRetry;
  stall_timer_ = center_.run_after(pause, [this] { retry_stalled(); });
  return false;
}

void FrameReceiver::retry_stalled() {
  stall_timer_ = TimerId::kNone;
  if (place_in_pool()) owner_.receive_resumed();
}

}  // namespace lunar::msgr
