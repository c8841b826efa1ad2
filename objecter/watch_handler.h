// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <system_error>

#include "common/bytes.h"
#include "common/unique_function.h"
#include "objecter/protocol/watch.h"

namespace lunar::objecter {

// A notify that came to one of our watches. Borrowed during on_notify().
struct NotifyEvent {
  const ObjectId& object;
  uint64_t cookie = 0;
  uint64_t notify_id = 0;          // of the server; the same if it is told again
  const ClientIdentity& notifier;  // who notifies: this process's own notifies come too
  ConstBytes payload;
  std::chrono::milliseconds timeout{0};  // how long the notifier waits for the ack
};

// Acks a notify with a reply of at most WatchLimits::kMaxPayloadBytes (a longer one is cut). To be
// called once at most, on the loop, at any time, also after the watch or the Objecter is gone: then
// it does nothing. One that is destroyed uncalled never acks, and the notifier waits until its
// timeout.
using NotifyReply = UniqueFunction<void(ConstBytes reply)>;

// What a watch hears. Called on the Objecter's loop, and never inside a call of the Objecter.
class WatchHandler {
 public:
  // Once per notify and watch, in the order in which the server sends them.
  virtual void on_notify(const NotifyEvent& event, NotifyReply ack) = 0;
  // The watch is no more, and nothing is heard of it after this: the server said so, or could not
  // be asked for so long that others may soon take this client for dead. It comes before they may.
  // kWatchLost: it expired at the server; kTimedOut: the server could not be asked; kNoSuchObject:
  // the object was deleted; kNoSuchPool; kFenced: this client was fenced there. Whoever still wants
  // a watch calls Objecter::watch() again.
  virtual void on_watch_lost(std::error_code error) = 0;

 protected:
  ~WatchHandler() = default;
};

}  // namespace lunar::objecter
