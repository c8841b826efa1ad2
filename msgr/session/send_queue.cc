// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/send_queue.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

// unacked_ holds consecutive numbers from first_seq_ on. Those below cursor_ have been given to the
// present link, those from cursor_ on are to be replayed. An entry leaves at the front when it is
// acknowledged and no link reads it: an acknowledgement can overtake the link's own callback.

namespace lunar::msgr {

void SendQueue::push(std::unique_ptr<OutMessage> message) {
  queued_[static_cast<uint8_t>(message->meta().priority)].push_back(std::move(message));
  ++queued_count_;
}

SendQueue::NextMessage SendQueue::take_next() {
  NextMessage next;
  next.seq = cursor_++;
  next.is_replay = next.seq < next_seq();
  if (!next.is_replay) {
    LUNAR_CHECK(queued_count_ > 0, "take_next() of an empty queue");
    const auto level = std::find_if(queued_.begin(), queued_.end(),
                                    [](const auto& each) { return !each.second.empty(); });
    unacked_.push_back(Sent{std::move(level->second.front()), false, false});
    level->second.pop_front();
    --queued_count_;
  }
  Sent& entry = at(next.seq);
  next.message = entry.message.get();
  entry.is_on_link = next.message != nullptr;
  return next;
}

void SendQueue::sent(uint64_t seq, bool is_kept) {
  LUNAR_CHECK(seq >= first_seq_ && seq < cursor_, "sent() of a message that is not on the link");
  Sent& entry = at(seq);
  entry.is_on_link = false;
  if (entry.is_withdrawn) {
    retire(std::move(entry.message));
    finish_withdrawals();
  }
  if (!is_kept) acked_ = std::max(acked_, seq);
  release_acked();
  if (seq < first_seq_) return;
  if (OutMessage* const unacked = at(seq).message.get()) unacked->release_payload();
}

void SendQueue::release_payloads() noexcept {
  for (Sent& entry : unacked_)
    if (entry.message != nullptr && !entry.is_on_link) entry.message->release_payload();
  for (auto& [priority, messages] : queued_)
    for (auto& message : messages) message->release_payload();
}

bool SendQueue::acknowledge(uint64_t seq) {
  if (seq >= cursor_) return false;
  acked_ = std::max(acked_, seq);
  release_acked();
  return true;
}

std::size_t SendQueue::restart(uint64_t peer_in_seq) {
  LUNAR_CHECK(could_replay_from(peer_in_seq), "the peer acknowledges what was never sent");
  for (const Sent& entry : unacked_) LUNAR_CHECK(!entry.is_on_link, "the old link is not closed");
  acked_ = peer_in_seq;
  release_acked();
  cursor_ = first_seq_;
  return unacked_.size();
}

bool SendQueue::withdraw(uint64_t tid, InlineFunction<void()> done, TimePoint now) {
  for (auto& [priority, messages] : queued_) {
    for (auto& message : messages) {
      if (message->meta().tid == tid) retire(std::move(message));
    }
    queued_count_ -= static_cast<std::size_t>(std::erase(messages, nullptr));
  }
  bool waits = false;
  for (Sent& entry : unacked_) {
    if (entry.message == nullptr || entry.message->meta().tid != tid) continue;
    entry.is_withdrawn = true;
    waits |= entry.is_on_link;
    if (!entry.is_on_link) retire(std::move(entry.message));
  }
  withdrawals_.push_back(Withdrawal{tid, std::move(done), now});
  if (!waits) finish_withdrawals();
  return waits;
}

void SendQueue::drop_queued() {
  for (auto& [priority, messages] : queued_) {
    for (auto& message : messages) retire(std::move(message));
  }
  queued_.clear();
  queued_count_ = 0;
}

void SendQueue::clear() {
  drop_queued();
  for (Sent& entry : unacked_) {
    LUNAR_CHECK(!entry.is_on_link, "the old link is not closed");
    retire(std::move(entry.message));
  }
  unacked_.clear();
  first_seq_ = cursor_ = 1;
  acked_ = 0;
  finish_withdrawals();
}

SendQueue::FinishedMessages SendQueue::take_finished() { return std::exchange(finished_, {}); }

void SendQueue::release_acked() {
  while (!unacked_.empty() && first_seq_ <= acked_ && !unacked_.front().is_on_link) {
    retire(std::move(unacked_.front().message));
    unacked_.pop_front();
    ++first_seq_;
  }
}

void SendQueue::retire(std::unique_ptr<OutMessage> message) {
  if (message != nullptr) finished_.messages.push_back(std::move(message));
}

void SendQueue::finish_withdrawals() {
  for (Withdrawal& withdrawal : withdrawals_) {
    const bool waits = std::any_of(unacked_.begin(), unacked_.end(), [&](const Sent& entry) {
      return entry.is_on_link && entry.is_withdrawn && entry.message->meta().tid == withdrawal.tid;
    });
    if (!waits) finished_.callbacks.push_back(std::move(withdrawal.done));
  }
  std::erase_if(withdrawals_, [](const Withdrawal& withdrawal) { return !withdrawal.done; });
}

}  // namespace lunar::msgr
