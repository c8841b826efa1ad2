// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "common/inline_function.h"
#include "msgr/message.h"

namespace lunar::msgr {

// The sending side of one session: messages that wait, by priority, and those that were given a
// sequence number and are not acknowledged, in order. Knows no links and does no I/O.
// Loop-bound. Owns the messages; those it is done with wait in take_finished(), because destroying
// one runs its owner's code.
class SendQueue {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  // What goes on the link next. `message` is null for one that was withdrawn after it got its
  // number: a kVoid stands for it.
  struct NextMessage {
    uint64_t seq = 0;
    OutMessage* message = nullptr;
    bool is_replay = false;
  };
  // Messages that were acknowledged or withdrawn, and callbacks of withdraw() that are due.
  struct FinishedMessages {
    std::vector<std::unique_ptr<OutMessage>> messages;
    std::vector<InlineFunction<void()>> callbacks;
    bool empty() const noexcept { return messages.empty() && callbacks.empty(); }
  };

  void push(std::unique_ptr<OutMessage> message);
  bool has_next() const noexcept { return cursor_ < next_seq() || queued_count_ > 0; }
  // The replay in order, then the highest priority, first come first. The message is the link's to
  // read until sent(). REQUIRES: has_next().
  NextMessage take_next();
  // The link is done with it, well or not. Without `is_kept` (a lossy session) that ends it.
  void sent(uint64_t seq, bool is_kept);
  // The peer has everything up to `seq`. False if that was never sent: the peer is wrong.
  bool acknowledge(uint64_t seq);
  // A new link: what the peer has is acknowledged, the rest goes out again. Returns how many.
  // REQUIRES: no message is the link's; could_replay_from(peer_in_seq).
  std::size_t restart(uint64_t peer_in_seq);
  bool could_replay_from(uint64_t peer_in_seq) const noexcept {
    return peer_in_seq >= acked_ && peer_in_seq < next_seq();
  }

  // Drops every message with this tid. `done` is in take_finished() when no link reads one of them
  // any more. Returns whether it still waits for the link.
  bool withdraw(uint64_t tid, InlineFunction<void()> done, TimePoint now);
  // Since when the first of those that wait for the link does; none if none waits.
  std::optional<TimePoint> oldest_withdrawal() const noexcept {
    return withdrawals_.empty() ? std::nullopt : std::optional(withdrawals_.front().since);
  }
  // There is no link: OutMessage::release_payload() of all that are kept.
  void release_payloads() noexcept;
  // Drops what never got a number.
  void drop_queued();
  // Ends the session: drops everything; numbers start at 1 again. REQUIRES: as restart().
  void clear();

  FinishedMessages take_finished();
  bool has_finished() const noexcept { return !finished_.empty(); }
  // Nothing waits and nothing is unacknowledged.
  bool is_idle() const noexcept { return queued_count_ == 0 && unacked_.empty(); }
  std::size_t size() const noexcept { return queued_count_ + unacked_.size(); }
  std::size_t queued_count() const noexcept { return queued_count_; }
  std::size_t unacked_count() const noexcept { return unacked_.size(); }
  uint64_t acked() const noexcept { return acked_; }

 private:
  struct Sent {
    std::unique_ptr<OutMessage> message;  // null once withdrawn and read by no link
    bool is_on_link = false;
    bool is_withdrawn = false;
  };
  struct Withdrawal {
    uint64_t tid;
    InlineFunction<void()> done;
    TimePoint since;
  };

  uint64_t next_seq() const noexcept { return first_seq_ + unacked_.size(); }
  Sent& at(uint64_t seq) { return unacked_[static_cast<std::size_t>(seq - first_seq_)]; }
  void release_acked();
  void retire(std::unique_ptr<OutMessage> message);
  void finish_withdrawals();

  // The queue of each priority that was used. An empty queue stays: most messages are taken as soon
  // as they are pushed, and each of them would make the queue anew.
  std::map<uint8_t, std::deque<std::unique_ptr<OutMessage>>, std::greater<>> queued_;
  std::size_t queued_count_ = 0;  // in all of them
  std::deque<Sent> unacked_;
  uint64_t first_seq_ = 1;  // of unacked_.front()
  uint64_t cursor_ = 1;     // the number that goes on the link next
  uint64_t acked_ = 0;
  std::vector<Withdrawal> withdrawals_;  // the oldest first
  FinishedMessages finished_;
};

}  // namespace lunar::msgr
