// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"

namespace lunar::msgr::rdma {

// The name of the verbs device ("uverbs0") that a kernel uevent says is removed; empty for any
// other message. Pure.
std::string_view removed_verbs_device(std::string_view uevent) noexcept;

// Hears of RDMA devices that leave the host: the kernel's uevents. Some drivers (rxe) send no
// IBV_EVENT_DEVICE_FATAL, and wait for our contexts to be closed.
// Loop-bound. Owns its socket.
class RemovalWatch {
 public:
  using Removed = UniqueFunction<void(std::string_view uverbs)>;
  static Result<std::unique_ptr<RemovalWatch>> open(EventCenter& center, Removed on_removed);
  ~RemovalWatch();
  RemovalWatch(const RemovalWatch&) = delete;
  RemovalWatch& operator=(const RemovalWatch&) = delete;

 private:
  RemovalWatch() = default;
  void read_all();
  int fd_ = -1;
  Removed on_removed_;
  FdWatch watch_;
};

}  // namespace lunar::msgr::rdma
