// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <string_view>

#include "common/inline_function.h"
#include "msgr/fair_shares.h"

namespace lunar::msgr {

// Something that reads from a link and has data that has to wait for memory.
struct ThrottledReader
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  // Something was given back: ask again, later.
  virtual void resume() = 0;

 protected:
  ~ThrottledReader() = default;
};

// Bounds the bytes of messages that a messenger receives, from the first byte of their data until
// their dispatcher is done with them: each connection holds up to the limit, all of them together
// up to three times as much, of which FairShares gives everybody a share. Messages without data are
// counted and never stopped: they may be what ends the wait. Loop-bound. Messages may outlive the
// messenger, so each holds a reference.
class DispatchThrottle : public std::enable_shared_from_this<DispatchThrottle> {
 public:
  explicit DispatchThrottle(uint64_t limit_bytes);

  FairShares::ShareRef open(std::string_view entity) { return shares_->open(entity); }
  // Whether a connection may take memory for data. If not, the reader waits, in its order, until it
  // is told to ask again; it leaves when it is destroyed.
  bool accepts(ThrottledReader& reader, const FairShares::Share& holder, uint64_t bytes);
  FairShares::Held hold(FairShares::ShareRef holder, uint64_t bytes) {
    return shares_->hold(std::move(holder), bytes);
  }
  // Gives back what is held, later: what a message has for it.
  [[nodiscard]] InlineFunction<void()> releaser(FairShares::Held held);
  // Something was given back: the first of those that wait ask again.
  void wake();

  uint64_t held_bytes() const noexcept { return shares_->held(); }

 private:
  using Readers =
      boost::intrusive::list<ThrottledReader, boost::intrusive::constant_time_size<false>>;
  const std::shared_ptr<FairShares> shares_;
  Readers readers_;  // that wait, in the order in which they asked last
};

}  // namespace lunar::msgr
