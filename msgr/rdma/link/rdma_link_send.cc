// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The sending half of RdmaLink. send() only queues; one posted function per turn makes a chain of
// work requests of what the turn queued and rings the doorbell once. What cannot go now waits for
// what it lacks: a credit (the peer's next segment), a slot (a completion), a bounce buffer (any
// link's completion). Each of those schedules another flush.
//
// posted_ mirrors the send queue of the QP; awaiting_ has the callbacks of what is wholly posted,
// in order, since an RC QP completes in order.

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "msgr/net/outgoing.h"
#include "msgr/rdma/link/rdma_link.h"
#include "tracing/tracepoints.h"

namespace lunar::msgr::rdma {

void RdmaLink::count(Count which, uint64_t amount) noexcept {
  qp_counters_.add(which, amount);
  worker_->counters().add(which, amount);
}

void RdmaLink::send(Frame frame, IoDone sent) {
  center_.assert_in_loop();
  if (!is_open()) return post_done(center_, std::move(sent), error_);
  if (const auto error = seal_outgoing(frame, options_.limits, options_.crc_data)) {
    return post_done(center_, std::move(sent), error);
  }
  const std::size_t bytes = frame_bytes(frame);
  queue_.push_back(FrameJob{std::move(frame), std::move(sent), bytes, 0});
  queued_bytes_ += bytes;
  schedule_flush();
}

void RdmaLink::schedule_flush() {
  if (flush_posted_ || !is_open()) return;
  flush_posted_ = true;
  center_.post([this, alive = alive_] {
    if (!*alive) return;
    flush_posted_ = false;
    flush();
  });
}

void RdmaLink::flush() {
  if (!is_open()) return;
  // What is granted from here on must be there.
  if (const auto error = qp_->receives().flush()) return fail(error);
  worker_->chain().clear();
  add_invalidations();
  add_reads();
  add_queued();
  add_control();
  const bool is_full = worker_->chain().is_full();
  if (post() && is_full) schedule_flush();
}

bool RdmaLink::has_slot() noexcept {
  if (worker_->chain().is_full()) return false;
  if (slots_.free() > 0) {
    was_queue_full_ = false;
    return true;
  }
  if (!std::exchange(was_queue_full_, true)) count(Count::kQueueStalls);
  return false;
}

uint64_t RdmaLink::next_wr_id() noexcept { return WrId::send(slot_, slots_.next()).value(); }

// After a request was added to the chain.
void RdmaLink::note(Posted posted, bool wants_signal) {
  const bool is_signalled = wants_signal || slots_.must_signal();
  if (is_signalled) worker_->chain().last().send_flags |= IBV_SEND_SIGNALED;
  slots_.post(is_signalled);
  posted_.push_back(posted);
}

bool RdmaLink::post() {
  PostChain& chain = worker_->chain();
  if (chain.is_empty()) return true;
  chain.last().send_flags |= IBV_SEND_SIGNALED;
  slots_.signal_last();
  ++counters_.send_calls;
  count(Count::kPosts);
  std::size_t untaken = 0;
  const int error = chain.post(qp_->get(), &untaken);
  if (error == 0) return true;
  slots_.unpost(static_cast<uint32_t>(untaken));
  for (std::size_t i = 0; i < untaken; ++i) {
    const Posted posted = posted_.back();
    posted_.pop_back();
    if (posted.bounce != kNoBounce) worker_->put_bounce(posted.bounce);
  }
  qp_has_failed_ = true;
  fail(verbs_error(error));
  return false;
}

bool RdmaLink::find(ConstBytes range, uint32_t* lkey) const noexcept {
  const Device& device = worker_->device();
  const MemoryKeys* keys = worker_->parts().staging.find(device, range.data(), range.size());
  if (keys == nullptr) {
    keys = worker_->parts().front_end.find(device, range.data(), range.size());
  }
  if (keys == nullptr) return false;
  *lkey = keys->lkey;
  return true;
}

void RdmaLink::add_queued() {
  while (!queue_.empty() && has_slot()) {
    Job& job = queue_.front();
    if (auto* remote = std::get_if<RemoteJob>(&job)) {
      add_fragment(*remote, Kind::kWrite);
      if (remote->fragments.is_done()) queue_.pop_front();
    } else if (const auto* bind = std::get_if<BindJob>(&job)) {
      add_bind(*bind);
      queue_.pop_front();
    } else if (!add_segment()) {
      return;
    }
  }
}

// How many bytes of frames could go in one segment now.
std::size_t RdmaLink::frames_ahead(std::size_t limit) const noexcept {
  std::size_t bytes = 0;
  for (const Job& job : queue_) {
    const auto* frame = std::get_if<FrameJob>(&job);
    if (frame == nullptr || bytes >= limit) break;
    bytes += frame->bytes - frame->offset;
  }
  return bytes;
}

// What goes into the header of any segment that is sent now.
Segment RdmaLink::outgoing(SegmentType type) {
  Segment segment;
  segment.type = type;
  segment.granted = credits_.receive.take_grant();
  if (give_back_ && queue_.empty()) {
    segment.returned = credits_.send.surplus(0);
    credits_.send.give_back(segment.returned);
    give_back_ = false;
  }
  if (credits_.token.take_owed()) segment.flags |= kSegmentAcknowledges;
  if (worker_->has_srq() && worker_->pool().is_low()) segment.flags |= kSegmentGiveBack;
  return segment;
}

void RdmaLink::trace_resume() const {
  if (LUNAR_TRACE_ENABLED(lunar_msgr, credit_resume)) {
    const auto waited = std::chrono::nanoseconds(center_.now() - stalled_since_).count();
    LUNAR_TRACE(lunar_msgr, credit_resume, qp_num_, static_cast<uint64_t>(waited));
  }
}

// One segment of the frames at the head of the queue. False if it has to wait.
bool RdmaLink::add_segment() {
  if (credits_.send.in_hand() == 0) {
    if (!std::exchange(is_stalled_, true)) {
      stalled_since_ = center_.now();
      count(Count::kCreditStalls);
      LUNAR_TRACE(lunar_msgr, credit_wait, qp_num_, static_cast<uint64_t>(queued_bytes_));
    }
    return false;
  }
  if (std::exchange(is_stalled_, false)) trace_resume();
  PostChain& chain = worker_->chain();
  const std::size_t ahead = frames_ahead(pack_.segment_bytes);
  const bool is_inline = sizeof(SegmentHeader) + ahead <= qp_->max_inline_bytes();
  Posted posted;
  Bytes memory = chain.inline_memory();
  PackLimits limits = pack_;
  if (is_inline) {
    limits.segment_bytes = static_cast<uint32_t>(sizeof(SegmentHeader) + ahead);
  } else {
    const auto bounce = worker_->take_bounce();
    if (!bounce) {
      if (!std::exchange(waits_for_bounce_, true)) {
        worker_->wait_for_bounce(slot_);
        count(Count::kBounceStalls);
      }
      return false;
    }
    posted.bounce = *bounce;
    memory = worker_->bounce(*bounce);
  }
  SegmentBuilder builder(limits, memory, is_inline ? 0 : worker_->bounce_lkey(),
                         is_inline ? nullptr : this);
  while (!queue_.empty() && !builder.is_full()) {
    auto* job = std::get_if<FrameJob>(&queue_.front());
    if (job == nullptr) break;
    job->offset += builder.add(job->frame, job->offset);
    if (job->offset < job->bytes) break;
    ++counters_.frames_sent;
    ++posted.num_done;
    awaiting_.push_back(std::move(job->done));
    queue_.pop_front();
  }
  credits_.send.spend();
  ++segments_sent_;
  const auto parts = builder.finish(outgoing(SegmentType::kFrames));
  chain.add(IBV_WR_SEND, next_wr_id(), parts, is_inline ? unsigned{IBV_SEND_INLINE} : 0u);
  note(posted, false);
  queued_bytes_ -= builder.payload_bytes();
  counters_.bytes_sent += builder.payload_bytes();
  count(Count::kSends);
  count(Count::kSendBytes, builder.payload_bytes());
  count(Count::kGatheredBytes, builder.gathered_bytes());
  if (is_inline) {
    count(Count::kInlineSends);
  } else {
    count(Count::kCopiedBytes, builder.payload_bytes() - builder.gathered_bytes());
  }
  return true;
}

// A segment for credits alone, when nothing else has taken them along.
void RdmaLink::add_control() {
  const bool has_news = credits_.receive.is_urgent() ||
                        (give_back_ && queue_.empty() && credits_.send.surplus(0) > 0);
  if (has_news && credits_.token.is_here()) {
    if (add_control_segment(SegmentType::kCredits)) credits_.token.sent();
  } else if (is_stalled_ && credits_.token.is_owed()) {
    // The peer may be unable to grant anything before it has its token back.
    add_control_segment(SegmentType::kAcknowledge);
  }
}

bool RdmaLink::add_control_segment(SegmentType type) {
  PostChain& chain = worker_->chain();
  if (chain.is_full() || !slots_.has_control_slot()) {
    if (chain.is_full()) schedule_flush();
    return false;
  }
  Posted posted;
  posted.kind = type == SegmentType::kBye ? Kind::kBye : Kind::kControl;
  const bool is_inline = qp_->max_inline_bytes() >= sizeof(SegmentHeader);
  Bytes memory = chain.inline_memory();
  if (!is_inline) {
    const auto bounce = worker_->take_bounce();
    if (!bounce) {
      if (!std::exchange(waits_for_bounce_, true)) worker_->wait_for_bounce(slot_);
      return false;
    }
    posted.bounce = *bounce;
    memory = worker_->bounce(*bounce);
  }
  const SegmentHeader header = encode_header(outgoing(type));
  std::memcpy(memory.data(), &header, sizeof header);
  const SegmentPart part{memory.data(), sizeof header, is_inline ? 0 : worker_->bounce_lkey()};
  chain.add(IBV_WR_SEND, next_wr_id(), {&part, 1}, is_inline ? unsigned{IBV_SEND_INLINE} : 0u);
  note(posted, type == SegmentType::kBye);
  count(Count::kCreditSegments);
  return true;
}

void RdmaLink::on_bounce_free() {
  waits_for_bounce_ = false;
  schedule_flush();
}

void RdmaLink::on_send_completion(uint32_t seq, ibv_wc_status status) {
  const uint32_t over = slots_.retire(seq);
  const bool was_open = is_open();
  bool has_left = false;
  std::vector<IoDone> finished;
  for (uint32_t i = 0; i < over; ++i) {
    const Posted posted = posted_.front();
    posted_.pop_front();
    if (posted.bounce != kNoBounce) worker_->put_bounce(posted.bounce);
    if (posted.kind == Kind::kRead) read_credits_.put();
    if (posted.kind == Kind::kBye) has_left = true;
    if (status != IBV_WC_SUCCESS && i + 1 == over) break;  // it failed; what came before did not
    if (posted.kind == Kind::kInvalidate) finish_invalidation(posted.rkey);
    if (!was_open) continue;  // what is pending when a link ends, ends with the link's error
    for (uint32_t k = 0; k < posted.num_done; ++k) {
      if (awaiting_.front()) finished.push_back(std::move(awaiting_.front()));
      awaiting_.pop_front();
    }
  }
  if (status != IBV_WC_SUCCESS) {
    if (status == IBV_WC_WR_FLUSH_ERR && !is_open()) has_left = true;
    qp_has_failed_ = true;
    fail(wc_error(status));
  } else if (over > 0 && (!queue_.empty() || !reads_.empty() || !invalidations_.empty())) {
    schedule_flush();
  }
  if ((has_left || qp_has_failed_) && state_of_qp() == QpState::kLeaving) stop_qp();
  for (IoDone& done : finished) done({});  // may destroy this
}

}  // namespace lunar::msgr::rdma
