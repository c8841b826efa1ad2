// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>

#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_header.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::gateway {

// Whether this gateway is fenced from an open image, by what servers and the image's header say.
// Another gateway may have taken over then: IO is refused. An operator's fence can be lifted again;
// whoever takes over strikes our registration, after fencing us at every server. So if it is there
// when the header can be read, and then no server refuses us, nobody has taken over.
// Loop-bound. Borrows the client, which outlives it.
class HeaderFence {
 public:
  HeaderFence(Client& client, const ImageSpec& spec, objecter::PoolId pool, ImageId image,
              bool is_read_only);

  bool is_fenced() const noexcept { return state_ != State::kLetIn; }
  bool is_lost() const noexcept { return state_ == State::kLost; }

  // Refuses IO; `why` is for the log. Nothing if it is fenced already.
  void fence(const std::string& why);
  // Fences it for good: the registration is gone, or the image.
  void lose(const std::string& why);

  // Somebody told of a change of the header, and had the ack of one that begins no IO: the header
  // has to be read before IO may go on.
  void on_told() noexcept;
  // The header is read from now on.
  void on_reading() noexcept;
  // Asks every server of the pool to carry out an op of ours, which changes nothing. True: all did,
  // and it is not fenced any more. REQUIRES: the header was read since on_reading(), and has our
  // registration; this lives until the task has ended.
  Task<bool> try_to_lift();

 private:
  enum class State : uint8_t {
    kLetIn,   // no server refuses us, as far as is known
    kFenced,  // a server refuses us; what was told is in the header as it was read
    kTold,    // as kFenced, and on_told() came since the header was read
    kLost,    // for good
  };
  Task<std::error_code> ask_servers();

  Client& client_;
  const std::string name_;  // POOL/IMAGE
  const objecter::PoolId pool_;
  const ImageId image_;
  const bool is_read_only_;
  State state_ = State::kLetIn;
};

}  // namespace lunar::gateway
