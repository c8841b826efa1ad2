// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/dispatch_throttle.h"

namespace lunar::msgr {

InlineFunction<void()> DispatchThrottle::hold(uint64_t bytes) {
  const bool was_full = is_full();
  held_ += bytes;
  if (!was_full && is_full()) {
    ++waits_;
    for (ThrottledReader& reader : readers_) reader.pause();
  }
  return [self = shared_from_this(), bytes] { self->release(bytes); };
}

void DispatchThrottle::add(ThrottledReader& reader) {
  readers_.push_back(reader);
  if (is_full()) reader.pause();
}

void DispatchThrottle::release(uint64_t bytes) {
  const bool was_full = is_full();
  held_ -= bytes;
  if (!was_full || is_full()) return;
  // resume() only asks the link to go on later: nothing arrives, and no reader leaves, inside it.
  for (ThrottledReader& reader : readers_) reader.resume();
}

}  // namespace lunar::msgr
