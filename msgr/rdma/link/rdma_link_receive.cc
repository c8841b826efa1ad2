// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The receiving half of RdmaLink. The header of a segment counts at once, even while reading is
// paused: credits must flow for sending to go on. Its piece of the stream of frames waits in held_
// until it is wanted, in its receive buffer; so a paused link holds the peer back by its credits.

#include <utility>

#include "msgr/errors.h"
#include "msgr/rdma/link/rdma_link.h"

namespace lunar::msgr::rdma {

void RdmaLink::repost(uint32_t buffer) { qp_->receives().repost(buffer); }

void RdmaLink::on_segment(uint32_t buffer, uint32_t length) {
  ReceiveQueue& receives = qp_->receives();
  if (!receives.has(buffer)) return fail(MsgrErrc::kBadFrame);
  if (!is_open()) return repost(buffer);
  const Bytes memory = receives.buffer(buffer);
  if (length > memory.size()) {
    repost(buffer);
    return fail(MsgrErrc::kBadFrame);
  }
  const auto segment = decode_segment(memory.first(length));
  if (!segment || !take_header(*segment)) {
    repost(buffer);
    return fail(MsgrErrc::kBadFrame);
  }
  if (last_batch_ != worker_->batch()) {
    last_batch_ = worker_->batch();
    ++counters_.receive_calls;
  }
  if (segment->type == SegmentType::kFrames) {
    counters_.bytes_received += segment->payload.size();
    count(Count::kReceives);
    count(Count::kReceiveBytes, segment->payload.size());
    lend_credits();
    held_.push_back({buffer, sizeof(SegmentHeader), length, false});
  } else {
    repost(buffer);
    if (segment->type != SegmentType::kBye) return;
    held_.push_back({0, 0, 0, true});
  }
  process_held();
}

// False if the peer does what it may not.
bool RdmaLink::take_header(const Segment& segment) {
  if (!credits_.take(segment)) return false;
  if (worker_->has_srq()) worker_->pool().give_back(segment.returned);
  if ((segment.flags & kSegmentGiveBack) != 0) give_back_ = true;
  if (credits_.send.surplus(0) > 0) worker_->watch_idle_links();
  const bool may_go_on = is_stalled_ && (segment.granted > 0 || credits_.token.is_owed());
  if (may_go_on || give_back_ || credits_.receive.is_urgent()) schedule_flush();
  return true;
}

// The peer uses what it has: let it have more, as long as there are buffers to spare.
void RdmaLink::lend_credits() {
  const uint32_t wanted = worker_->has_srq() ? credits_.receive.wants_to_lend() : 0;
  if (wanted == 0) return;
  const uint32_t lent = worker_->pool().lend(wanted);
  credits_.receive.lend(lent);
  if (lent < wanted) worker_->want_receives();
}

void RdmaLink::schedule_process() {
  if (process_posted_ || is_processing_ || !is_open() || held_.empty()) return;
  process_posted_ = true;
  center_.post([this, alive = alive_] {
    if (!*alive) return;
    process_posted_ = false;
    process_held();
  });
}

void RdmaLink::process_held() {
  if (is_processing_ || !is_open()) return;
  const std::shared_ptr<bool> alive = alive_;
  is_processing_ = true;
  while (!held_.empty() && receiver_.wants_bytes()) {
    if (held_.front().is_bye) {
      peer_has_left_ = true;
      fail(MsgrErrc::kClosedByPeer);
      break;
    }
    const Held head = held_.front();
    const ConstBytes whole = qp_->receives().buffer(head.buffer);
    ConstBytes in = whole.subspan(head.offset, head.end - head.offset);
    receiver_.feed(in);
    if (!*alive) return;
    if (!is_open()) break;  // held_ is empty
    if (in.empty()) {
      held_.pop_front();
      repost(head.buffer);
      credits_.receive.on_reposted();
    } else {
      held_.front().offset = head.end - static_cast<uint32_t>(in.size());
    }
  }
  is_processing_ = false;
  if (is_open() && credits_.receive.is_urgent()) schedule_flush();
}

bool RdmaLink::give_back_if_idle() {
  if (!is_open() || credits_.send.surplus(0) == 0) return false;
  const bool is_idle = segments_sent_ == segments_at_last_look_ && queue_.empty();
  segments_at_last_look_ = segments_sent_;
  if (is_idle) {
    give_back_ = true;
    schedule_flush();
  }
  return true;
}

void RdmaLink::on_receive_error(ibv_wc_status status) {
  if (!is_open()) return;
  qp_has_failed_ = true;
  fail(wc_error(status));
}

}  // namespace lunar::msgr::rdma
