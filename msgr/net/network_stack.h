// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>

#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/address.h"
#include "msgr/buffer.h"
#include "msgr/event_center.h"
#include "msgr/net/link.h"

namespace lunar::msgr {

using ConnectDone = UniqueFunction<void(Result<std::unique_ptr<Link>>)>;
using AcceptCallback = UniqueFunction<void(std::unique_ptr<Link>)>;

// Accepts connections until destroyed. Loop-bound to the center it was made on.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual Address local_address() const = 0;
};

// A connect under way. Destroying it, on its loop, gives it up: `done` will not run.
class PendingConnect {
 public:
  virtual ~PendingConnect() = default;
};

// A way to make links: posix, RDMA, or the tests' loopback. Knows no messages.
// Thread-safe; the center passed in must be the caller's own. Outlives its links and listeners.
class NetworkStack {
 public:
  virtual ~NetworkStack() = default;
  // `done` runs once, later, on `center`, unless the result is destroyed first.
  [[nodiscard]] virtual std::unique_ptr<PendingConnect> connect(EventCenter& center,
                                                                const Address& peer,
                                                                ConnectDone done) = 0;
  // Port 0 takes any free one. on_accept runs on `center` for each connection, with a link that
  // has no handler yet.
  virtual Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                                    AcceptCallback on_accept) = 0;
  virtual BufferPool& buffers() noexcept = 0;
};

}  // namespace lunar::msgr
