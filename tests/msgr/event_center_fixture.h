// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>

#include "common/file.h"
#include "msgr/event_center.h"

namespace lunar::msgr {

// fds to watch: readable by add_to(), until drain().
inline UniqueFd make_event(unsigned count = 0) { return UniqueFd(eventfd(count, EFD_NONBLOCK)); }
inline void add_to(const UniqueFd& fd) {
  const uint64_t one = 1;
  ASSERT_EQ(write(fd.get(), &one, sizeof one), 8);
}
inline void drain(const UniqueFd& fd) {
  uint64_t value;
  [[maybe_unused]] const auto length = read(fd.get(), &value, sizeof value);
}
inline bool readable(int fd) {
  pollfd host{fd, POLLIN, 0};
  return poll(&host, 1, 0) == 1;
}

// Waits for another thread. False only in a broken test.
template <typename Done>
bool yield_until(Done done) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

class EventCenterFixture : public testing::Test {
 protected:
  EventCenterFixture() : center_(std::move(*EventCenter::create({}))) {}
  std::unique_ptr<EventCenter> center_;
};

}  // namespace lunar::msgr
