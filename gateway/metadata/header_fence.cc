// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/header_fence.h"

#include "common/log.h"
#include "msgr/awaiters.h"

namespace lunar::gateway {

using objecter::OsdErrc;

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
  objecter::Objecter& objecter = client_.objecter();
  std::error_code error;
  bool has_lost = false;
  // That writes are lost hides what other servers said, but not from a second flush.
  for (int round = 0; round < 2; ++round) {
    msgr::Completion<std::error_code> flushed;
    objecter.flush(pool_, image_, client_.next_io_id(), flushed.callback());
    const std::error_code answer = co_await flushed;
    error = answer;
    if (error != OsdErrc::kLostWrites) break;
    has_lost = true;
  }
  if (has_lost) objecter.on_loss_unheard(image_);  // that is for a flush of the initiator's
  // Whoever may only read is refused a flush, and harms nobody.
  if (is_read_only_ && error == OsdErrc::kNotPermitted) error = {};
  co_return error;
}

}  // namespace lunar::gateway
