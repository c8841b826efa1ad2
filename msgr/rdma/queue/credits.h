// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How two ends keep a SEND from meeting no receive buffer, docs/protocol.md §9. Each frames segment
// costs a credit. Credits come back on whatever goes the other way; if nothing does, in a segment
// of their own, which needs none: at most one such is on its way unacknowledged. The
// acknowledgement rides on anything too, and travels alone only from an end that has frames and no
// credit. So neither end can wait for the other for ever: who has no credit has granted a token.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>

namespace lunar::msgr::rdma {

// Receive buffers of a worker that may back credits. Thread-safe.
class CreditPool {
 public:
  // For a new link: all or nothing.
  bool reserve(uint32_t count) noexcept;
  // What can be spared of `wanted`: a quarter stays for new links.
  uint32_t lend(uint32_t wanted) noexcept;
  void give_back(uint32_t count) noexcept { free_.fetch_add(count, std::memory_order_relaxed); }
  void add(uint32_t count) noexcept;  // new buffers
  bool is_low() const noexcept;
  uint32_t free() const noexcept { return free_.load(std::memory_order_relaxed); }
  uint32_t total() const noexcept { return total_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint32_t> free_{0};
  std::atomic<uint32_t> total_{0};
};

// What we may send. Loop-bound.
class SendCredits {
 public:
  // `base`: what both ends start with, and what is never given back.
  explicit SendCredits(uint32_t base) noexcept : base_(base), in_hand_(base) {}
  uint32_t in_hand() const noexcept { return in_hand_; }
  void spend() noexcept { --in_hand_; }  // REQUIRES: in_hand() > 0
  // False if the sum is more than any peer grants.
  bool gain(uint16_t count) noexcept;
  // How many can be given back if `needed` are kept.
  uint16_t surplus(uint32_t needed) const noexcept {
    const uint32_t keep = std::max(base_, needed);
    return static_cast<uint16_t>(in_hand_ > keep ? in_hand_ - keep : 0);
  }
  void give_back(uint16_t count) noexcept { in_hand_ -= count; }  // REQUIRES: <= in_hand()

 private:
  const uint32_t base_;
  uint32_t in_hand_;
};

// What the peer may send. Loop-bound.
class ReceiveCredits {
 public:
  ReceiveCredits(uint32_t base, uint32_t most) noexcept
      : base_(base),
        most_(std::max(base, most)),
        window_(base),
        announced_(base),
        outstanding_(base) {}

  // A frames segment has come. False if the peer had no credit for it.
  bool on_frames() noexcept;
  // The peer gave credits back: they are the pool's again. False if it did not have them.
  bool on_returned(uint16_t count) noexcept;
  // The buffer of a frames segment is posted again.
  void on_reposted() noexcept { ++used_; }

  // How many more the peer could use: none while it leaves half of its credits unused.
  uint32_t wants_to_lend() const noexcept {
    return outstanding_ * 2 <= announced_ ? std::min(window_, most_ - window_) : 0;
  }
  void lend(uint32_t count) noexcept {
    window_ += count;
    lent_ += count;
  }

  // Grants are due although nothing goes the other way: the peer has used half of what it knows of.
  bool is_urgent() const noexcept { return used_ >= std::max(1u, announced_ / 2); }
  bool has_grant() const noexcept { return used_ + lent_ > 0; }
  // All that is to be granted, for a segment that goes out now.
  uint16_t take_grant() noexcept;

  uint32_t window() const noexcept { return window_; }  // the link's share of the pool
  uint32_t outstanding() const noexcept { return outstanding_; }

 private:
  const uint32_t base_;  // never given back
  const uint32_t most_;
  uint32_t window_;       // all below, and what is received and not yet posted again
  uint32_t announced_;    // the window as the peer knows it
  uint32_t outstanding_;  // the peer has them, or a segment that used one is on its way
  uint32_t used_ = 0;     // to be granted again
  uint32_t lent_ = 0;     // to be granted for the first time
};

// The right to send kCredits, and the duty to acknowledge it. Loop-bound.
class CreditToken {
 public:
  bool is_here() const noexcept { return is_here_; }
  void sent() noexcept { is_here_ = false; }
  // The peer acknowledges. False if there is nothing to be acknowledged.
  bool on_acknowledged() noexcept { return !std::exchange(is_here_, true); }
  // The peer used its token. False if it had none.
  bool on_received() noexcept { return !std::exchange(is_owed_, true); }
  bool is_owed() const noexcept { return is_owed_; }
  bool take_owed() noexcept { return std::exchange(is_owed_, false); }

 private:
  bool is_here_ = true;
  bool is_owed_ = false;
};

// READs in flight on a QP: more than the responder takes are an error there. Loop-bound.
class ReadCredits {
 public:
  explicit ReadCredits(uint8_t count) noexcept : free_(count) {}
  bool take() noexcept { return free_ > 0 && free_-- > 0; }
  void put() noexcept { ++free_; }
  uint32_t free() const noexcept { return free_; }

 private:
  uint32_t free_;
};

}  // namespace lunar::msgr::rdma
