// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>

#include "common/result.h"
#include "common/task.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/image_directory.h"
#include "gateway/image_header.h"
#include "gateway/metadata/header_fence.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/header_watch.h"
#include "gateway/metadata/notify_acks.h"
#include "gateway/open_options.h"
#include "msgr/awaiters.h"
#include "objecter/watch_handler.h"

namespace lunar::gateway {

struct ImageCounters;

// The header of an open image: watches the header object, takes the image's lock by a registration
// in it, reads it again when somebody notifies of a change (and every lunar_header_poll, should one
// be missed), and strikes the registration at the end. HeaderWatch, HeaderFence and NotifyAcks have
// the state of the watch, of a fence and of the acks of notifies. Loop-bound to the client's
// center. Shared with its own task, which ends soon after stop(). Borrows the client, which
// outlives it.
class OpenHeader final : public std::enable_shared_from_this<OpenHeader>,
                         private objecter::WatchHandler {
 public:
  // Errors are sentences: kNoSuchPool, kNoSuchObject, kBusy for an image that is not whole, has
  // no room for another registration, or is locked by somebody else. Read-only: registers nothing.
  // `done` runs once, later.
  static void open(Client& client, const ImageSpec& spec, const OpenOptions& options,
                   UniqueFunction<void(Outcome<std::shared_ptr<OpenHeader>>)> done);

  const ImageSpec& spec() const noexcept { return spec_; }
  objecter::PoolId pool() const noexcept { return pool_.id; }
  // As it was found last. All but size, name, state and registrations is the same for the image's
  // life.
  const ImageHeader& header() const noexcept { return newest_.header; }
  // Bytes that may be read and written.
  uint64_t size() const noexcept { return header().usable_size(); }
  // Ours, in the header or, of a read-only one, not: then its cookie is that of the watch.
  const Registration& registration() const noexcept { return registration_; }
  // Somebody else struck our registration, a server refuses us, or the image was removed: another
  // gateway may have taken over. Ends if none has, and every server carries out our ops again.
  bool is_fenced() const noexcept { return fence_.is_fenced(); }
  // A server has refused an op of ours with kFenced.
  void on_fenced();
  // Runs `when_ended(end, done)` when somebody has to know that no IO beyond byte `end` is in
  // flight any more: from the call on it starts none, and `done` runs when those that it had have
  // ended. Until stop().
  void watch_ends(NotifyAcks::WhenEnded when_ended) { acks_.watch_ends(std::move(when_ended)); }
  // What is done with the image: whoever asks by a notify is told these. Of all opens of the
  // client.
  ImageCounters& counters() const noexcept { return *counters_; }
  // Runs on_resize(new size) whenever the header is found with another size. Empty: no longer.
  void watch_size(UniqueFunction<void(uint64_t)> on_resize) { on_resize_ = std::move(on_resize); }

  // Nothing changes any more. Once; strike() follows.
  void stop();
  // Takes our registration out, unless there is none or somebody else has struck it, and ends the
  // watch. `done` runs once, later, with the outcome of the first attempt; it is tried again until
  // the client shuts down. REQUIRES: stop(), and no IO is in flight.
  void strike(UniqueFunction<void(Outcome<void>)> done);

 private:
  OpenHeader(Client& client, ImageSpec spec, objecter::PoolInfo pool, const OpenOptions& options,
             VersionedHeader found);
  static Task<Outcome<std::shared_ptr<OpenHeader>>> open_in_order(Client& client, ImageSpec spec,
                                                                  OpenOptions options);
  static Task<Outcome<void>> open_found(std::shared_ptr<OpenHeader> self);
  static Detached strike_earlier(std::shared_ptr<OpenHeader> self);
  static Task<Outcome<void>> strike_once(std::shared_ptr<OpenHeader> self);
  static Task<Outcome<void>> leave(std::shared_ptr<OpenHeader> self);
  static Detached end_watch(std::shared_ptr<OpenHeader> self, Outcome<void> struck);
  static Detached follow(std::shared_ptr<OpenHeader> self);
  static Task<bool> watch_again(std::shared_ptr<OpenHeader> self);
  static Task<bool> wait_until_let_in(std::shared_ptr<OpenHeader> self);
  static Task<bool> read_again(std::shared_ptr<OpenHeader> self);
  void adopt(VersionedHeader found);

  void on_notify(const objecter::NotifyEvent& event, objecter::NotifyReply ack) override;
  void on_watch_lost(std::error_code error) override;

  Client& client_;
  const ImageSpec spec_;
  const objecter::PoolInfo pool_;
  const OpenOptions options_;
  const Registration registration_;  // ours; of a read-only one only the cookie counts
  VersionedHeader newest_;           // as it was found last
  bool is_registered_ = false;       // ours may be in the header: somebody strikes it
  bool is_stopped_ = false;          // until_next_poll_ is closed then
  HeaderWatch watch_;
  HeaderFence fence_;
  NotifyAcks acks_;
  msgr::Sleeper until_next_poll_;
  msgr::Sleeper until_left_;  // the watch has ended
  UniqueFunction<void(uint64_t)> on_resize_;
  const std::shared_ptr<ImageCounters> counters_;  // never null
};

}  // namespace lunar::gateway
