// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "common/bytes.h"
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

// A try to carry a connection over to a faster link between the same two processes: RDMA's
// metadata, exchanged over an authenticated TCP link. Each side prepares, tells the other, and
// completes with what it was told. Loop-bound; destroying it gives it up, and no `done` runs. A
// `done` may destroy it.
class LinkUpgrade {
 public:
  virtual ~LinkUpgrade() = default;
  using Prepared = UniqueFunction<void(Outcome<std::vector<std::byte>>)>;
  // `done` gives what the peer has to know, at most 256 bytes; no secret.
  virtual void prepare(Prepared done) = 0;
  // `told` comes from the network. `done` gives the new link; no frame has proven it yet.
  // REQUIRES: prepared.
  virtual void complete(ConstBytes told, ConnectDone done) = 0;
  // The connecting end makes the link, once it was told: the accepting end then waits for it with
  // await_link(), before it tells, and does not complete().
  virtual bool is_made_by_connector() const noexcept { return false; }
  // At the accepting end; as complete(), but that `done` runs when the peer has come.
  // REQUIRES: is_made_by_connector(), prepared.
  virtual void await_link(ConstBytes told, ConnectDone done) { complete(told, std::move(done)); }
  // How long all of that, and the first frame over the new link, may take.
  virtual std::chrono::nanoseconds time_limit() const noexcept = 0;
  // The new link has carried a frame each way and is used from now on.
  virtual void succeeded() noexcept = 0;
  // It came to nothing. Whether the old link may be used for good, then. `why` is kFeatureMismatch
  // if the peer never offered any; the sentence is for the log.
  virtual bool may_stay(const Error& why) = 0;
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
  // Something faster than `over` that leads to the same peer, if this stack knows any.
  virtual std::unique_ptr<LinkUpgrade> upgrade(EventCenter& center, const Link& over) {
    (void)center, (void)over;
    return nullptr;
  }
  // Some of its links can move memory without the peer's CPU.
  virtual bool supports_one_sided() const noexcept { return false; }
  // For payload that arrives, and that a server stores.
  virtual BufferPool& buffers() noexcept = 0;
  // For memory that Link::expose() is to hand out.
  virtual BufferPool& front_end_buffers() noexcept { return buffers(); }
};

}  // namespace lunar::msgr
