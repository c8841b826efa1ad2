// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>

#include "common/result.h"
#include "common/task.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/image_directory.h"
#include "gateway/image_header.h"
#include "msgr/awaiters.h"

namespace lunar::gateway {

// The header of an open image: registers the gateway in it, looks every lunar_header_poll whether
// it has changed, and strikes the registration at the end. Loop-bound to the client's center.
// Shared with its own poll, which ends soon after stop(). Borrows the client, which outlives it.
class OpenHeader : public std::enable_shared_from_this<OpenHeader> {
 public:
  // Errors are sentences: kNoSuchPool, kNoSuchObject, kBusy for an image that is being removed or
  // has no room for another registration. Read-only: registers nothing. `done` runs once, later.
  static void open(Client& client, const ImageSpec& spec, bool is_read_only,
                   UniqueFunction<void(Outcome<std::shared_ptr<OpenHeader>>)> done);

  const ImageSpec& spec() const noexcept { return spec_; }
  objecter::PoolId pool() const noexcept { return pool_; }
  // As it was found last. All but size, state and registrations is the same for the image's life.
  const ImageHeader& header() const noexcept { return header_; }
  // Somebody else struck our registration: another gateway may have taken over.
  bool is_fenced() const noexcept { return is_fenced_; }
  // Runs on_resize(new size) whenever the header is found with another size. Empty: no longer.
  void watch_size(UniqueFunction<void(uint64_t)> on_resize) { on_resize_ = std::move(on_resize); }

  // Ends the poll: nothing changes any more.
  void stop();
  // Takes our registration out, unless there is none or somebody else has struck it. `done` runs
  // once, later.
  void strike(UniqueFunction<void(Outcome<void>)> done);

 private:
  OpenHeader(Client& client, ImageSpec spec, objecter::PoolId pool, bool is_read_only,
             VersionedHeader found);
  static Task<Outcome<std::shared_ptr<OpenHeader>>> open_in_order(Client& client, ImageSpec spec,
                                                                  bool is_read_only);
  static Task<Outcome<void>> strike_in_order(std::shared_ptr<OpenHeader> self);
  static Detached poll(std::shared_ptr<OpenHeader> self);
  void adopt(VersionedHeader found);

  Client& client_;
  const ImageSpec spec_;
  const objecter::PoolId pool_;
  const bool is_read_only_;
  ImageHeader header_;
  objecter::ObjectVersion version_;  // of header_
  bool is_fenced_ = false;           // never of a read-only one
  bool is_stopped_ = false;
  msgr::Sleeper until_next_poll_;  // closed with is_stopped_
  UniqueFunction<void(uint64_t)> on_resize_;
};

}  // namespace lunar::gateway
