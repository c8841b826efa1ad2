// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/own_flush.h"

#include "msgr/awaiters.h"

namespace lunar::gateway {

OwnFlush::OwnFlush(Client& client, objecter::PoolId pool, objecter::ImageId image)
    : client_(client),
      pool_(pool),
      image_(image),
      writes_(client.objecter().writes_of(image)),
      losses_before_(writes_->losses()) {}

Task<std::error_code> OwnFlush::run(uint64_t io_id) {
  msgr::Completion<std::error_code> flushed;
  client_.objecter().flush(pool_, image_, io_id, objecter::Objecter::LossHearer::kNobody,
                           flushed.callback());
  const std::error_code error = co_await flushed;
  const bool has_lost = writes_->losses() != losses_before_;  // whoever has heard of it
  if (error && error != objecter::OsdErrc::kLostWrites) co_return error;
  co_return has_lost ? make_error_code(objecter::OsdErrc::kLostWrites) : std::error_code();
}

}  // namespace lunar::gateway
