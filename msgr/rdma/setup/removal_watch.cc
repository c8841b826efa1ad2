// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/removal_watch.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>

namespace lunar::msgr::rdma {
namespace {

constexpr unsigned kKernelGroup = 1;  // what the kernel sends itself; udev's own are in group 2

}  // namespace

std::string_view removed_verbs_device(std::string_view uevent) noexcept {
  // "remove@/devices/virtual/infiniband_verbs/uverbs0", then KEY=value strings, each ended by 0.
  const std::string_view head = uevent.substr(0, uevent.find('\0'));
  constexpr std::string_view kRemove = "remove@";
  constexpr std::string_view kFolder = "/infiniband_verbs/";
  if (!head.starts_with(kRemove)) return {};
  const std::size_t at = head.rfind(kFolder);
  if (at == std::string_view::npos) return {};
  const std::string_view name = head.substr(at + kFolder.size());
  return name.find('/') == std::string_view::npos ? name : std::string_view();
}

Result<std::unique_ptr<RemovalWatch>> RemovalWatch::open(EventCenter& center, Removed on_removed) {
  std::unique_ptr<RemovalWatch> watch(new RemovalWatch());
  watch->on_removed_ = std::move(on_removed);
  watch->fd_ =
      socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
  if (watch->fd_ < 0) return failure(last_system_error());
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kKernelGroup;
  if (bind(watch->fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return failure(last_system_error());
  }
  auto watching = center.watch(watch->fd_, FdEvents::kRead,
                               [self = watch.get()](FdEvents) { self->read_all(); });
  if (!watching) return failure(watching.error());
  watch->watch_ = std::move(*watching);
  return watch;
}

RemovalWatch::~RemovalWatch() {
  watch_ = {};
  if (fd_ >= 0) close(fd_);
}

void RemovalWatch::read_all() {
  std::array<char, 8192> buffer;
  for (;;) {
    sockaddr_nl sender{};
    socklen_t length = sizeof sender;
    const ssize_t bytes = recvfrom(fd_, buffer.data(), buffer.size(), 0,
                                   reinterpret_cast<sockaddr*>(&sender), &length);
    if (bytes < 0) {
      // ENOBUFS: messages were lost. Any device may be gone; an empty name has each looked at.
      if (errno == ENOBUFS) {
        on_removed_({});
        continue;
      }
      return;
    }
    if (sender.nl_pid != 0) continue;  // not the kernel
    const auto name =
        removed_verbs_device(std::string_view(buffer.data(), static_cast<std::size_t>(bytes)));
    if (!name.empty()) on_removed_(name);
  }
}

}  // namespace lunar::msgr::rdma
