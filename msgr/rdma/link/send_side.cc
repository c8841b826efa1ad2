// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/send_side.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "msgr/net/outgoing.h"
#include "tracing/tracepoints.h"

namespace lunar::msgr::rdma {
namespace {

// Slots of the send queue for credits, an acknowledgement, the farewell and the beacon.
constexpr uint32_t kControlSlots = 8;

}  // namespace

SendSide::SendSide(LinkCore& link, const SendResources& lent)
    : link_(link),
      lent_(lent),
      slots_(lent.num_slots, kControlSlots),
      read_credits_(lent.reads_in_flight) {}

// --- queueing ------------------------------------------------------------------------------------

void SendSide::send(Frame&& frame, IoDone&& sent) {
  const std::size_t bytes = frame_bytes(frame);
  queue_.push_back(FrameJob{std::move(frame), std::move(sent), bytes, 0});
  queued_bytes_ += bytes;
  schedule_flush();
}

void SendSide::read(RemoteTransfer&& transfer) {
  reads_.push_back(std::move(transfer));
  schedule_flush();
}

void SendSide::write(RemoteTransfer&& transfer) {
  queue_.push_back(std::move(transfer));
  schedule_flush();
}

void SendSide::bind(uint32_t rkey) {
  queue_.push_back(BindJob{rkey});
  schedule_flush();
}

void SendSide::invalidate(uint32_t rkey) {
  invalidations_.push_back(rkey);
  schedule_flush();
}

void SendSide::schedule_flush() {
  if (is_flush_posted_ || is_stopped_) return;
  is_flush_posted_ = true;
  link_.center.post([this, alive = link_.alive] {
    if (!*alive) return;
    is_flush_posted_ = false;
    flush();
  });
}

void SendSide::on_credits(const Segment& header) {
  if ((header.flags & kSegmentGiveBack) != 0) must_give_back_ = true;
  const bool may_go_on = is_stalled_ && (header.granted > 0 || link_.credits.token.is_owed());
  if (may_go_on || must_give_back_ || link_.credits.receive.is_urgent()) schedule_flush();
}

void SendSide::on_bounce_free() {
  waits_for_bounce_ = false;
  schedule_flush();
}

bool SendSide::give_back_if_idle() {
  if (is_stopped_ || link_.credits.send.surplus(0) == 0) return false;
  const bool is_idle = num_segments_ == num_segments_at_last_look_ && queue_.empty();
  num_segments_at_last_look_ = num_segments_;
  if (is_idle) {
    must_give_back_ = true;
    schedule_flush();
  }
  return true;
}

// --- posting -------------------------------------------------------------------------------------

void SendSide::flush() {
  if (is_stopped_) return;
  // What is granted from here on must be there.
  if (const auto error = link_.receives.flush()) return link_.faults.fail(error);
  lent_.chain.clear();
  add_invalidations();
  add_reads();
  add_queued();
  add_control();
  const bool is_full = lent_.chain.is_full();
  if (post() && is_full) schedule_flush();
}

bool SendSide::has_slot() noexcept {
  if (lent_.chain.is_full()) return false;
  if (slots_.free() > 0) {
    was_queue_full_ = false;
    return true;
  }
  if (!std::exchange(was_queue_full_, true)) link_.counts.add(Count::kQueueStalls);
  return false;
}

uint64_t SendSide::next_wr_id() noexcept { return WrId::send(link_.slot, slots_.next()).value(); }

// After a request was added to the chain.
void SendSide::note(Posted posted, bool wants_signal) {
  const bool is_signalled = wants_signal || slots_.must_signal();
  if (is_signalled) lent_.chain.last().send_flags |= IBV_SEND_SIGNALED;
  slots_.post(is_signalled);
  posted_.push_back(posted);
}

bool SendSide::post() {
  PostChain& chain = lent_.chain;
  if (chain.is_empty()) return true;
  chain.last().send_flags |= IBV_SEND_SIGNALED;
  slots_.signal_last();
  ++link_.counters.send_calls;
  link_.counts.add(Count::kPosts);
  std::size_t untaken = 0;
  const int error = chain.post(lent_.qp, &untaken);
  if (error == 0) return true;
  slots_.unpost(static_cast<uint32_t>(untaken));
  for (std::size_t i = 0; i < untaken; ++i) {
    const Posted posted = posted_.back();
    posted_.pop_back();
    if (posted.bounce != kNoBounce) lent_.bounces.put(posted.bounce);
  }
  link_.faults.fail_qp(verbs_error(error));
  return false;
}

void SendSide::add_queued() {
  while (!queue_.empty() && has_slot()) {
    QueuedJob& job = queue_.front();
    if (auto* transfer = std::get_if<RemoteTransfer>(&job)) {
      add_fragment(*transfer, Kind::kWrite);
      if (transfer->fragments.is_done()) queue_.pop_front();
    } else if (const auto* bind = std::get_if<BindJob>(&job)) {
      add_bind(bind->rkey);
      queue_.pop_front();
    } else if (!add_segment()) {
      return;
    }
  }
}

// --- segments ------------------------------------------------------------------------------------

// How many bytes of frames could go in one segment now.
std::size_t SendSide::frames_ahead(std::size_t limit) const noexcept {
  std::size_t bytes = 0;
  for (const QueuedJob& job : queue_) {
    const auto* frame = std::get_if<FrameJob>(&job);
    if (frame == nullptr || bytes >= limit) break;
    bytes += frame->bytes - frame->offset;
  }
  return bytes;
}

// What goes into the header of any segment that is sent now.
Segment SendSide::make_header(SegmentType type) {
  CreditLedger& credits = link_.credits;
  Segment segment;
  segment.type = type;
  segment.granted = credits.receive.take_grant();
  if (must_give_back_ && queue_.empty()) {
    segment.returned = credits.send.surplus(0);
    credits.send.give_back(segment.returned);
    must_give_back_ = false;
  }
  if (credits.token.take_owed()) segment.flags |= kSegmentAcknowledges;
  if (link_.pool != nullptr && link_.pool->is_low()) segment.flags |= kSegmentGiveBack;
  return segment;
}

// For a segment of frames. Notes when it begins and ends that there is none.
bool SendSide::has_credit() {
  if (link_.credits.send.in_hand() == 0) {
    if (!std::exchange(is_stalled_, true)) {
      stalled_since_ = link_.center.now();
      link_.counts.add(Count::kCreditStalls);
      LUNAR_TRACE(lunar_msgr, credit_wait, link_.qp_num, static_cast<uint64_t>(queued_bytes_));
    }
    return false;
  }
  if (std::exchange(is_stalled_, false)) {
    if (LUNAR_TRACE_ENABLED(lunar_msgr, credit_resume)) {
      const auto waited = std::chrono::nanoseconds(link_.center.now() - stalled_since_).count();
      LUNAR_TRACE(lunar_msgr, credit_resume, link_.qp_num, static_cast<uint64_t>(waited));
    }
  }
  return true;
}

// False if there is none: on_bounce_free() comes when there is.
bool SendSide::take_bounce(Posted* posted, Bytes* memory) {
  const auto bounce = lent_.bounces.take();
  if (!bounce) {
    if (!std::exchange(waits_for_bounce_, true)) {
      lent_.bounces.wait(link_.slot);
      if (posted->kind == Kind::kSegment) link_.counts.add(Count::kBounceStalls);
    }
    return false;
  }
  posted->bounce = *bounce;
  *memory = lent_.bounces.buffer(*bounce);
  return true;
}

// One segment of the frames at the head of the queue. False if it has to wait.
bool SendSide::add_segment() {
  if (!has_credit()) return false;
  PostChain& chain = lent_.chain;
  const std::size_t ahead = frames_ahead(lent_.pack.segment_bytes);
  const bool is_inline = sizeof(SegmentHeader) + ahead <= lent_.max_inline_bytes;
  Posted posted;
  Bytes memory = chain.inline_memory();
  PackLimits limits = lent_.pack;
  if (is_inline) {
    limits.segment_bytes = static_cast<uint32_t>(sizeof(SegmentHeader) + ahead);
  } else if (!take_bounce(&posted, &memory)) {
    return false;
  }
  SegmentBuilder builder(limits, memory, is_inline ? 0 : lent_.bounces.lkey(),
                         is_inline ? nullptr : &lent_.memory);
  while (!queue_.empty() && !builder.is_full()) {
    auto* job = std::get_if<FrameJob>(&queue_.front());
    if (job == nullptr) break;
    job->offset += builder.add(job->frame, job->offset);
    if (job->offset < job->bytes) break;
    ++link_.counters.frames_sent;
    ++posted.num_done;
    awaiting_.push_back(std::move(job->done));
    queue_.pop_front();
  }
  link_.credits.send.spend();
  ++num_segments_;
  const auto elements = builder.finish(make_header(SegmentType::kFrames));
  chain.add(IBV_WR_SEND, next_wr_id(), elements, is_inline ? unsigned{IBV_SEND_INLINE} : 0u);
  note(posted, false);
  queued_bytes_ -= builder.payload_bytes();
  count_segment(builder, is_inline);
  return true;
}

void SendSide::count_segment(const SegmentBuilder& builder, bool is_inline) {
  link_.counters.bytes_sent += builder.payload_bytes();
  link_.counts.add(Count::kSends);
  link_.counts.add(Count::kSendBytes, builder.payload_bytes());
  link_.counts.add(Count::kGatheredBytes, builder.gathered_bytes());
  if (is_inline) {
    link_.counts.add(Count::kInlineSends);
  } else {
    link_.counts.add(Count::kCopiedBytes, builder.payload_bytes() - builder.gathered_bytes());
  }
}

// A segment for credits alone, when nothing else has taken them along.
void SendSide::add_control() {
  CreditLedger& credits = link_.credits;
  const bool has_news = credits.receive.is_urgent() ||
                        (must_give_back_ && queue_.empty() && credits.send.surplus(0) > 0);
  if (has_news && credits.token.is_here()) {
    if (add_control_segment(SegmentType::kCredits)) credits.token.sent();
  } else if (is_stalled_ && credits.token.is_owed()) {
    // The peer may be unable to grant anything before it has its token back.
    add_control_segment(SegmentType::kAcknowledge);
  }
}

// False if there is no room on the chain (a full one is followed by another flush), no slot or no
// bounce buffer.
bool SendSide::add_control_segment(SegmentType type) {
  PostChain& chain = lent_.chain;
  if (chain.is_full() || !slots_.has_control_slot()) return false;
  Posted posted;
  posted.kind = type == SegmentType::kBye ? Kind::kFarewell : Kind::kControl;
  const bool is_inline = lent_.max_inline_bytes >= sizeof(SegmentHeader);
  Bytes memory = chain.inline_memory();
  if (!is_inline && !take_bounce(&posted, &memory)) return false;
  const SegmentHeader header = encode_header(make_header(type));
  std::memcpy(memory.data(), &header, sizeof header);
  const GatherElement element{memory.data(), sizeof header, is_inline ? 0 : lent_.bounces.lkey()};
  chain.add(IBV_WR_SEND, next_wr_id(), {&element, 1}, is_inline ? unsigned{IBV_SEND_INLINE} : 0u);
  note(posted, type == SegmentType::kBye);
  link_.counts.add(Count::kCreditSegments);
  return true;
}

bool SendSide::post_farewell() {
  lent_.chain.clear();
  return add_control_segment(SegmentType::kBye) && post();
}

// --- one-sided -----------------------------------------------------------------------------------

void SendSide::add_reads() {
  while (!reads_.empty() && read_credits_.free() > 0 && has_slot()) {
    read_credits_.take();
    add_fragment(reads_.front(), Kind::kRead);
    if (reads_.front().fragments.is_done()) reads_.pop_front();
  }
}

void SendSide::add_fragment(RemoteTransfer& transfer, Kind kind) {
  const FragmentRange fragment = transfer.fragments.peek();
  transfer.fragments.pop();
  const bool is_read = kind == Kind::kRead;
  const GatherElement element{transfer.local + fragment.local_offset, fragment.length,
                              transfer.lkey};
  ibv_send_wr& request =
      lent_.chain.add(is_read ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE, next_wr_id(),
                      {&element, fragment.length > 0 ? std::size_t{1} : std::size_t{0}}, 0);
  request.wr.rdma.remote_addr = fragment.remote_addr;
  request.wr.rdma.rkey = transfer.rkey;
  Posted posted;
  posted.kind = kind;
  if (fragment.is_last) {
    posted.num_done = 1;
    awaiting_.push_back(std::move(transfer.done));
  }
  note(posted, is_read || fragment.is_last);
  link_.counts.add(is_read ? Count::kReads : Count::kWrites);
  link_.counts.add(is_read ? Count::kReadBytes : Count::kWriteBytes, fragment.length);
}

void SendSide::add_bind(uint32_t rkey) {
  const auto bind = lent_.keys.begin_bind(rkey);
  if (!bind) return;  // revoked meanwhile
  ibv_send_wr& request = lent_.chain.add(IBV_WR_BIND_MW, next_wr_id(), {}, 0);
  request.bind_mw.mw = bind->window;
  request.bind_mw.rkey = rkey;
  request.bind_mw.bind_info = bind->info;
  Posted posted;
  posted.kind = Kind::kBind;
  note(posted, false);
  link_.counts.add(Count::kBinds);
}

void SendSide::add_invalidations() {
  while (!invalidations_.empty() && has_slot()) {
    const uint32_t rkey = invalidations_.front();
    invalidations_.pop_front();
    ibv_send_wr& request = lent_.chain.add(IBV_WR_LOCAL_INV, next_wr_id(), {}, 0);
    request.invalidate_rkey = rkey;
    Posted posted;
    posted.kind = Kind::kInvalidate;
    posted.rkey = rkey;
    note(posted, true);
    link_.counts.add(Count::kInvalidations);
  }
}

// --- completions and the end ---------------------------------------------------------------------

SendSide::Retired SendSide::on_completion(uint32_t seq, ibv_wc_status status) {
  const uint32_t over = slots_.retire(seq);
  Retired retired;
  for (uint32_t i = 0; i < over; ++i) {
    const Posted posted = posted_.front();
    posted_.pop_front();
    if (posted.bounce != kNoBounce) lent_.bounces.put(posted.bounce);
    if (posted.kind == Kind::kRead) read_credits_.put();
    if (posted.kind == Kind::kFarewell) retired.has_farewell = true;
    if (status != IBV_WC_SUCCESS && i + 1 == over) break;  // it failed; what came before did not
    if (posted.kind == Kind::kInvalidate) lent_.keys.on_invalidated(posted.rkey);
    if (is_stopped_) continue;  // what is pending when a link ends, ends with the link's error
    for (uint32_t k = 0; k < posted.num_done; ++k) {
      if (awaiting_.front()) retired.finished.push_back(std::move(awaiting_.front()));
      awaiting_.pop_front();
    }
  }
  if (status != IBV_WC_SUCCESS) {
    if (status == IBV_WC_WR_FLUSH_ERR && is_stopped_) retired.has_farewell = true;
    link_.faults.fail_qp(wc_error(status));
  } else if (over > 0 && (!queue_.empty() || !reads_.empty() || !invalidations_.empty())) {
    schedule_flush();
  }
  return retired;
}

void SendSide::stop() noexcept {
  is_stopped_ = true;
  queued_bytes_ = 0;
}

void SendSide::take_unfinished(std::vector<IoDone>& out) {
  const auto take = [&out](IoDone& done) {
    if (done) out.push_back(std::move(done));
  };
  for (IoDone& done : awaiting_) take(done);
  for (QueuedJob& job : queue_) {
    if (auto* frame = std::get_if<FrameJob>(&job)) take(frame->done);
    if (auto* transfer = std::get_if<RemoteTransfer>(&job)) take(transfer->done);
  }
  for (RemoteTransfer& transfer : reads_) take(transfer.done);
  awaiting_.clear();
  queue_.clear();
  reads_.clear();
  invalidations_.clear();
}

void SendSide::release_bounces() {
  for (const Posted& posted : posted_) {
    if (posted.bounce != kNoBounce) lent_.bounces.put(posted.bounce);
  }
  posted_.clear();
}

}  // namespace lunar::msgr::rdma
