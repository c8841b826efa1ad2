// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/header_fence.h"

#include "common/log.h"
#include "msgr/awaiters.h"

namespace lunar::gateway {

using objecter::OsdErrc;
using LossHearer = objecter::Objecter::LossHearer;

HeaderFence::HeaderFence(Client& client, const ImageSpec& spec, objecter::PoolId pool,
                         ImageId image, bool is_read_only)
    : client_(client),
      name_(spec.to_string()),
      pool_(pool),
      image_(image),
      is_read_only_(is_read_only) {}

void HeaderFence::fence(const std::string& why) {
  if (is_fenced()) return;
  state_ = State::kFenced;
  LUNAR_ERROR(kGateway, "image {}: {}: fenced, IO is refused", name_, why);
}

void HeaderFence::lose(const std::string& why) {
  fence(why);
  state_ = State::kLost;
}

void HeaderFence::on_told() noexcept {
  if (state_ == State::kFenced) state_ = State::kTold;
}

void HeaderFence::on_reading() noexcept {
  if (state_ == State::kTold) state_ = State::kFenced;
}

Task<bool> HeaderFence::try_to_lift() {
  const std::error_code refused = co_await ask_servers();
  if (refused || state_ != State::kFenced) co_return false;
  state_ = State::kLetIn;
  LUNAR_LOG(kGateway, 0, "image {}: no server refuses this gateway any more: IO goes on", name_);
  co_return true;
}

Task<std::error_code> HeaderFence::ask_servers() {
  msgr::Completion<std::error_code> flushed;
  client_.objecter().flush(pool_, image_, client_.next_io_id(), LossHearer::kNobody,
                           flushed.callback());
  const std::error_code error = co_await flushed;
  // A server that tells of a loss has carried out the op. Whoever may only read is refused a flush,
  // and harms nobody.
  const bool is_carried_out =
      error == OsdErrc::kLostWrites || (is_read_only_ && error == OsdErrc::kNotPermitted);
  co_return is_carried_out ? std::error_code() : error;
}

}  // namespace lunar::gateway
