// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/notify_acks.h"

#include <utility>

namespace lunar::gateway {
namespace {

void give_all(NotifyAcks::Acks& acks) {
  for (objecter::NotifyReply& ack : acks) ack({});
}

}  // namespace

NotifyAcks::Acks NotifyAcks::take() noexcept { return std::exchange(owed_, {}); }

void NotifyAcks::give(Acks acks, uint64_t end, UniqueFunction<void()> done) {
  if (!when_ended_) {
    give_all(acks);
    return done();
  }
  when_ended_(end, [acks = std::move(acks), done = std::move(done)]() mutable {
    give_all(acks);
    done();
  });
}

void NotifyAcks::give_idle(Acks acks) {
  switch (state_) {
    case State::kOpen:
      return give(std::move(acks), 0, [] {});
    case State::kClosing:
      for (objecter::NotifyReply& ack : acks) add(std::move(ack));
      return;
    case State::kReleased:
      return give_all(acks);
  }
}

void NotifyAcks::stop() {
  if (state_ == State::kOpen) state_ = State::kClosing;
  when_ended_ = nullptr;
}

void NotifyAcks::release() {
  state_ = State::kReleased;
  Acks acks = take();
  give_all(acks);
}

}  // namespace lunar::gateway
