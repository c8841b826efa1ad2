// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/task.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/image_directory.h"
#include "gateway/image_header.h"
#include "gateway/open_options.h"
#include "msgr/awaiters.h"
#include "objecter/watch_handler.h"

namespace lunar::gateway {

// The header of an open image: watches the header object, takes the image's lock by a registration
// in it, reads it again when somebody notifies of a change (and every lunar_header_poll, should one
// be missed), and strikes the registration at the end. Loop-bound to the client's center. Shared
// with its own task, which ends soon after stop(). Borrows the client, which outlives it.
class OpenHeader : public std::enable_shared_from_this<OpenHeader>, private objecter::WatchHandler {
 public:
  // Errors are sentences: kNoSuchPool, kNoSuchObject, kBusy for an image that is being removed, has
  // no room for another registration, or is locked by somebody else. Read-only: registers nothing.
  // `done` runs once, later.
  static void open(Client& client, const ImageSpec& spec, const OpenOptions& options,
                   UniqueFunction<void(Outcome<std::shared_ptr<OpenHeader>>)> done);

  const ImageSpec& spec() const noexcept { return spec_; }
  objecter::PoolId pool() const noexcept { return pool_.id; }
  // As it was found last. All but size, state and registrations is the same for the image's life.
  const ImageHeader& header() const noexcept { return header_; }
  // Bytes that may be read and written.
  uint64_t size() const noexcept { return header_.usable_size(); }
  // Ours, in the header or, of a read-only one, not: then its cookie is that of the watch.
  const Registration& registration() const noexcept { return registration_; }
  // Somebody else struck our registration, a server refuses us, or the image was removed: another
  // gateway may have taken over. Ends if none has, and every server carries out our ops again.
  bool is_fenced() const noexcept { return is_fenced_; }
  // A server has refused an op of ours with kFenced.
  void on_fenced();
  // Runs `when_ended(end, done)` when somebody has to know that no IO beyond byte `end` is in
  // flight any more: from the call on it starts none, and `done` runs when those that it had have
  // ended. Until stop().
  using WhenEnded = UniqueFunction<void(uint64_t end, UniqueFunction<void()> done)>;
  void watch_ends(WhenEnded when_ended) { when_ended_ = std::move(when_ended); }
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
  static Task<std::error_code> watch(std::shared_ptr<OpenHeader> self);
  static Task<Outcome<void>> strike_once(std::shared_ptr<OpenHeader> self);
  static Detached end_watch(std::shared_ptr<OpenHeader> self, Outcome<void> struck);
  static Detached follow(std::shared_ptr<OpenHeader> self);
  static Task<bool> watch_again(std::shared_ptr<OpenHeader> self);
  using Acks = std::vector<objecter::NotifyReply>;
  static Task<bool> wait_for_ends(std::shared_ptr<OpenHeader> self, uint64_t end);
  static Detached ack_without_ios(std::shared_ptr<OpenHeader> self, Acks acks);
  static Task<bool> wait_until_let_in(std::shared_ptr<OpenHeader> self);
  static Task<std::error_code> ask_all_servers(std::shared_ptr<OpenHeader> self);
  void adopt(VersionedHeader found);
  void fence(const std::string& why);
  void lose(const std::string& why);

  void on_notify(const objecter::NotifyEvent& event, objecter::NotifyReply ack) override;
  void on_watch_lost(std::error_code error) override;

  Client& client_;
  const ImageSpec spec_;
  const objecter::PoolInfo pool_;
  const OpenOptions options_;
  const Registration registration_;  // ours; of a read-only one only the cookie counts
  ImageHeader header_;
  objecter::ObjectVersion version_;  // of header_
  bool is_registered_ = false;  // our registration was in the header, and we have not struck it
  bool is_fenced_ = false;
  bool was_told_ = false;  // of a change while it was fenced, since the header was read
  bool is_lost_ = false;   // fenced for good: the registration is gone, or the image
  bool is_stopped_ = false;
  bool is_struck_ = false;         // strike() was called: no IO is in flight
  bool is_watching_ = false;       // the objecter has `this` as a handler
  Acks acks_;                      // of notifies since the header was read
  msgr::Sleeper until_next_poll_;  // closed with is_stopped_
  WhenEnded when_ended_;
  UniqueFunction<void(uint64_t)> on_resize_;
};

}  // namespace lunar::gateway
