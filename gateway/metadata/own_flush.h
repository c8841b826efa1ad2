// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>

#include "common/task.h"
#include "gateway/client.h"
#include "objecter/image_writes.h"
#include "objecter/protocol/types.h"

namespace lunar::gateway {

// Tries to make a change whose flush says that writes were lost.
inline constexpr int kLostWritesRounds = 4;

// Makes durable what this process changes of an image for purposes of its own: a trim, a repair.
// Made before the first change. A loss that its flush is told of is told to the initiators as well:
// nobody has heard of it by this. Loop-bound; borrows the client, which outlives it.
class OwnFlush {
 public:
  OwnFlush(Client& client, objecter::PoolId pool, objecter::ImageId image);

  // A flush. kLostWrites: a server has lost writes since this was made, perhaps those that are to
  // be durable. An older loss is no error. This lives until the task has ended.
  Task<std::error_code> run(uint64_t io_id);

 private:
  Client& client_;
  const objecter::PoolId pool_;
  const objecter::ImageId image_;
  const std::shared_ptr<objecter::ImageWrites> writes_;  // kept, so that losses are counted
  const uint64_t losses_before_;
};

}  // namespace lunar::gateway
