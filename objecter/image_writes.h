// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>

namespace lunar::objecter {

// The writes of one image that have begun and that their initiator does not know the end of yet. A
// write may consist of many ops: the first of them may be executed, and lost by its server, before
// the last is. Whoever then hears that the write is done takes it for one that the next FLUSH makes
// durable, so a FLUSH that had begun before does not tell him of the loss. Which one does is known
// here: one that began when every write had ended that had begun before the loss was noticed.
//
// Shared by all who have the image open through one Objecter (Objecter::writes_of()). Loop-bound.
// Borrows each write from begin() to end().
class ImageWrites {
 public:
  // Whatever changes the image, as long as it is under way. Part of its owner, and not moved.
  class Write : public boost::intrusive::list_base_hook<> {
   private:
    friend class ImageWrites;
    uint64_t order_ = 0;
  };

  // Before its first op is submitted. REQUIRES: it has not begun.
  void begin(Write& write) noexcept {
    write.order_ = next_++;
    in_flight_.push_back(write);
  }
  // Before the initiator hears of the end. Nothing happens if it never began.
  void end(Write& write) noexcept {
    if (write.is_linked()) in_flight_.erase(in_flight_.iterator_to(write));
  }

  // For a FLUSH that begins now: the order of the oldest write in flight; of the next one, if there
  // is none.
  uint64_t oldest() const noexcept {
    return in_flight_.empty() ? next_ : in_flight_.front().order_;
  }
  // A server has said that writes are lost, which it had not said before; or that was noticed here.
  void on_loss() noexcept {
    may_be_lost_before_ = next_;
    ++losses_;
  }
  // How many losses were noticed so far, each once, whoever's flush was told first. If it is the
  // same as before a write, that write is in none of them.
  uint64_t losses() const noexcept { return losses_; }
  // Whether a FLUSH that ended with kLostWrites has told of all losses so far. `oldest` is that of
  // its begin.
  bool are_losses_told(uint64_t oldest) const noexcept { return oldest >= may_be_lost_before_; }

 private:
  uint64_t next_ = 1;
  uint64_t may_be_lost_before_ = 0;  // writes with a lower order may be part of a loss
  uint64_t losses_ = 0;              // calls of on_loss()
  boost::intrusive::list<Write, boost::intrusive::constant_time_size<false>> in_flight_;
};

}  // namespace lunar::objecter
