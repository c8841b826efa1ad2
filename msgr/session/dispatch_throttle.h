// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>

#include "common/inline_function.h"

namespace lunar::msgr {

// Something that reads from a link and can be told to take no memory for a while.
struct ThrottledReader
    : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  virtual void pause() = 0;
  virtual void resume() = 0;

 protected:
  ~ThrottledReader() = default;
};

// Bounds the bytes of messages that a messenger received and whose dispatcher still holds them:
// while there are `limit` or more, none of its links takes memory for data that arrives. Messages
// without data are counted and never stopped: they may be what ends the wait. Loop-bound. Messages
// may outlive the messenger, so each holds a reference.
class DispatchThrottle : public std::enable_shared_from_this<DispatchThrottle> {
 public:
  explicit DispatchThrottle(uint64_t limit_bytes) noexcept : limit_(limit_bytes) {}

  // Counts `bytes` until the returned function has run.
  [[nodiscard]] InlineFunction<void()> hold(uint64_t bytes);
  // A reader to pause and resume from now on; paused at once if need be. It leaves when destroyed.
  void add(ThrottledReader& reader);
  bool is_full() const noexcept { return limit_ != 0 && held_ >= limit_; }
  uint64_t held_bytes() const noexcept { return held_; }
  uint64_t waits() const noexcept { return waits_; }  // times it became full

 private:
  void release(uint64_t bytes);

  using Readers =
      boost::intrusive::list<ThrottledReader, boost::intrusive::constant_time_size<false>>;
  const uint64_t limit_;  // 0: none
  uint64_t held_ = 0;
  uint64_t waits_ = 0;
  Readers readers_;
};

}  // namespace lunar::msgr
