// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/receive_side.h"

#include <utility>

#include "msgr/errors.h"

namespace lunar::msgr::rdma {

ReceiveSide::ReceiveSide(LinkCore& link, SendSide& sending, ReceiveResources lent)
    : link_(link),
      sending_(sending),
      lent_(std::move(lent)),
      receiver_(link.center, lent_.staging, link.options.limits, *this, link.counters) {}

void ReceiveSide::set_handler(LinkHandler* handler) {
  receiver_.set_handler(handler);
  schedule_process();
}

void ReceiveSide::resume() {
  receiver_.resume();
  schedule_process();
}

void ReceiveSide::on_segment(uint32_t buffer, uint32_t length, uint64_t batch) {
  ReceiveQueue& receives = link_.receives;
  if (!receives.has(buffer)) return link_.faults.fail(MsgrErrc::kBadFrame);
  if (is_stopped_) return receives.repost(buffer);
  const Bytes memory = receives.buffer(buffer);
  if (length > memory.size()) {
    receives.repost(buffer);
    return link_.faults.fail(MsgrErrc::kBadFrame);
  }
  const auto segment = decode_segment(memory.first(length));
  if (!segment || !take_header(*segment)) {
    receives.repost(buffer);
    return link_.faults.fail(MsgrErrc::kBadFrame);
  }
  if (last_batch_ != batch) {
    last_batch_ = batch;
    ++link_.counters.receive_calls;
  }
  if (segment->type == SegmentType::kFrames) {
    link_.counters.bytes_received += segment->payload.size();
    link_.counts.add(Count::kReceives);
    link_.counts.add(Count::kReceiveBytes, segment->payload.size());
    lend_credits();
    held_.push_back({buffer, sizeof(SegmentHeader), length, false});
  } else {
    receives.repost(buffer);
    if (segment->type != SegmentType::kBye) return;
    held_.push_back({0, 0, 0, true});
  }
  process_held();
}

// False if the peer breaks a rule.
bool ReceiveSide::take_header(const Segment& segment) {
  if (!link_.credits.take(segment)) return false;
  if (link_.pool != nullptr) link_.pool->give_back(segment.returned);
  if (link_.credits.send.surplus(0) > 0) lent_.idle_watch.start();
  sending_.on_credits(segment);
  return true;
}

// The peer uses what it has: let it have more, as long as there are buffers to spare.
void ReceiveSide::lend_credits() {
  ReceiveCredits& credits = link_.credits.receive;
  const uint32_t wanted = link_.pool != nullptr ? credits.wants_to_lend() : 0;
  if (wanted == 0) return;
  const uint32_t lent = link_.pool->lend(wanted);
  credits.lend(lent);
  if (lent < wanted) lent_.want_receives();
}

void ReceiveSide::schedule_process() {
  if (is_process_posted_ || is_processing_ || is_stopped_ || held_.empty()) return;
  is_process_posted_ = true;
  link_.center.post([this, alive = link_.alive] {
    if (!*alive) return;
    is_process_posted_ = false;
    process_held();
  });
}

void ReceiveSide::process_held() {
  if (is_processing_ || is_stopped_) return;
  const std::shared_ptr<bool> alive = link_.alive;
  is_processing_ = true;
  while (!held_.empty() && receiver_.wants_bytes()) {
    if (held_.front().is_farewell) {
      link_.faults.peer_left();
      break;
    }
    const HeldSegment head = held_.front();
    const ConstBytes whole = link_.receives.buffer(head.buffer);
    ConstBytes in = whole.subspan(head.offset, head.end - head.offset);
    receiver_.feed(in);
    if (!*alive) return;
    if (is_stopped_) break;  // held_ is empty
    if (in.empty()) {
      held_.pop_front();
      link_.receives.repost(head.buffer);
      link_.credits.receive.on_reposted();
    } else {
      held_.front().offset = head.end - static_cast<uint32_t>(in.size());
    }
  }
  is_processing_ = false;
  if (!is_stopped_ && link_.credits.receive.is_urgent()) sending_.schedule_flush();
}

void ReceiveSide::stop() {
  is_stopped_ = true;
  receiver_.stop();
  for (const HeldSegment& held : std::exchange(held_, {})) {
    if (!held.is_farewell) link_.receives.repost(held.buffer);
  }
}

}  // namespace lunar::msgr::rdma
