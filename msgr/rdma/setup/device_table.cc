// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/device_table.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>

#include "common/host.h"
#include "common/log.h"
#include "msgr/rdma/setup/cm_channel.h"
#include "msgr/rdma/setup/removal_watch.h"

// A user holds a device through a lease, so that this table hears when the last one is gone: only
// then may a device that left the host be detached from the arenas and closed, and the kernel waits
// for that.

namespace lunar::msgr::rdma {
namespace {

constexpr std::chrono::seconds kListingAge{1};  // a list of devices is good for so long

}  // namespace

struct DeviceTable::Impl : std::enable_shared_from_this<Impl> {
  // Shared by all users of one device; what they hold points into it.
  struct Lease {
    std::weak_ptr<Impl> table;
    std::shared_ptr<Device> device;
    ~Lease() {
      const auto owner = table.lock();
      if (owner == nullptr) return;
      owner->borrowed.service.run([owner] { owner->close_unused(); });
    }
  };
  struct Entry {
    std::shared_ptr<Device> device;
    std::weak_ptr<Lease> lease;
    FdWatch async_watch;
  };

  explicit Impl(Borrowed with) : borrowed(std::move(with)) {}

  std::shared_ptr<Device> lend(Entry& entry) {
    std::shared_ptr<Lease> lease = entry.lease.lock();
    if (lease == nullptr) {
      lease = std::make_shared<Lease>();
      lease->table = weak_from_this();
      lease->device = entry.device;
      entry.lease = lease;
    }
    return {lease, lease->device.get()};
  }

  Outcome<std::shared_ptr<Device>> get(const std::string& name) {
    for (Entry& entry : entries) {
      if (entry.device->name() != name || entry.device->is_gone()) continue;
      if (is_there(*entry.device)) return lend(entry);
      remove(entry);
    }
    return open(name);
  }

  Outcome<std::shared_ptr<Device>> open(const std::string& name) {
    watch_removals();
    auto opened = Device::open(name);
    if (!opened) return opened;
    Entry entry;
    entry.device = *opened;
    for (std::size_t i = 0; i < borrowed.arenas.size(); ++i) {
      auto attached = borrowed.arenas[i]->attach(entry.device);
      if (attached) continue;
      while (i-- > 0) borrowed.arenas[i]->detach(*entry.device);
      return failure(std::move(attached.error()));
    }
    ibv_context* const context = entry.device->context();
    fcntl(context->async_fd, F_SETFL, fcntl(context->async_fd, F_GETFL) | O_NONBLOCK);
    Device* const device = entry.device.get();
    auto watch = borrowed.service.center().watch(
        context->async_fd, FdEvents::kRead, [this, device](FdEvents) { read_events(*device); });
    if (!watch) {
      for (Arena* arena : borrowed.arenas) arena->detach(*device);
      return failure(watch.error(), fmt::format("RDMA device {}: its events cannot be watched: {}",
                                                name, watch.error().message()));
    }
    entry.async_watch = std::move(*watch);
    entries.push_back(std::move(entry));
    borrowed.counters.device_opened();
    return lend(entries.back());
  }

  // Whether the host still has it, for drivers that do not say so.
  static bool is_there(const Device& device) {
    const std::string directory = fmt::format("/sys/class/infiniband_verbs/{}",
                                              ibv_get_device_name_of_verbs(device.context()));
    return access(directory.c_str(), F_OK) == 0;
  }
  static const char* ibv_get_device_name_of_verbs(ibv_context* context) {
    return context->device->dev_name;  // "uverbs0", where name is "rxe0"
  }

  void watch_removals() {
    if (removals != nullptr) return;
    auto watch = RemovalWatch::open(borrowed.service.center(),
                                    [this](std::string_view name) { on_removed(name); });
    if (watch) {
      removals = std::move(*watch);
    } else {
      LUNAR_LOG(kMs, 1, "removals of RDMA devices are noticed late: {}", watch.error().message());
    }
  }
  void on_removed(std::string_view verbs_name) {
    listing.reset();
    for (Entry& entry : entries) {
      const bool is_it = verbs_name.empty()
                             ? !is_there(*entry.device)
                             : verbs_name == ibv_get_device_name_of_verbs(entry.device->context());
      if (is_it) remove(entry);
    }
    close_unused();
  }

  void remove(Entry& entry) {
    if (entry.device->is_gone()) return;
    LUNAR_LOG(kMs, 0, "RDMA device {} was removed or has failed: its links end",
              entry.device->name());
    entry.device->set_gone();
    listing.reset();
    borrowed.on_gone(*entry.device);
  }

  // Closes what is gone and has no user any more.
  void close_unused() {
    for (std::size_t i = 0; i < entries.size();) {
      if (!entries[i].device->is_gone() || !entries[i].lease.expired()) {
        ++i;
        continue;
      }
      Entry entry = std::move(entries[i]);
      entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(i));
      close(entry, true);
    }
  }
  void close(Entry& entry, bool was_removed) {
    entry.async_watch = {};
    for (Arena* arena : borrowed.arenas) arena->detach(*entry.device);
    borrowed.counters.device_closed(was_removed);
    LUNAR_LOG(kMs, 1, "RDMA device {} is closed", entry.device->name());
    entry.device.reset();
    if (was_removed) release_removed_cm_devices();
  }

  void read_events(Device& device) {
    ibv_async_event event{};
    while (ibv_get_async_event(device.context(), &event) == 0) {
      borrowed.counters.async_event(event.event_type);
      on_event(device, event);
      ibv_ack_async_event(&event);
    }
    close_unused();
  }
  void on_event(Device& device, const ibv_async_event& event) {
    switch (event.event_type) {
      case IBV_EVENT_DEVICE_FATAL:
        for (Entry& entry : entries) {
          if (entry.device.get() == &device) remove(entry);
        }
        break;
      case IBV_EVENT_PORT_ACTIVE:
      case IBV_EVENT_PORT_ERR:
      case IBV_EVENT_LID_CHANGE:
      case IBV_EVENT_PKEY_CHANGE:
      case IBV_EVENT_SM_CHANGE:
      case IBV_EVENT_CLIENT_REREGISTER:
      case IBV_EVENT_GID_CHANGE:
        // Links that it concerns run into their retry limit, and their sessions find another way.
        listing.reset();
        LUNAR_LOG(kMs, 1, "RDMA device {} port {}: {}", device.name(), event.element.port_num,
                  ibv_event_type_str(event.event_type));
        break;
      default:
        borrowed.on_event(device, event);
        break;
    }
  }

  Outcome<PortChoice> choose(const Address& local) {
    const auto now = monotonic_now();
    if (!listing || now - listed_at > kListingAge) {
      auto devices = list_devices();
      if (!devices) return failure(std::move(devices.error()));
      listing = std::move(*devices);
      listed_at = now;
    }
    return choose_port(*listing, borrowed.options, local);
  }

  Borrowed borrowed;
  std::vector<Entry> entries;
  std::unique_ptr<RemovalWatch> removals;
  std::optional<std::vector<DeviceListing>> listing;
  std::chrono::steady_clock::time_point listed_at{};
};

DeviceTable::DeviceTable(Borrowed borrowed) : impl_(std::make_shared<Impl>(std::move(borrowed))) {}

DeviceTable::~DeviceTable() = default;

Outcome<std::pair<PortChoice, std::shared_ptr<Device>>> DeviceTable::find(const Address& local) {
  auto choice = impl_->choose(local);
  if (!choice) return failure(std::move(choice.error()));
  auto device = impl_->get(choice->device);
  if (!device) return failure(std::move(device.error()));
  return std::pair(std::move(*choice), std::move(*device));
}

Outcome<std::shared_ptr<Device>> DeviceTable::find_device(const std::string& name) {
  return impl_->get(name);
}

void DeviceTable::close() {
  impl_->removals.reset();
  for (Impl::Entry& entry : impl_->entries) impl_->close(entry, false);
  impl_->entries.clear();
}

}  // namespace lunar::msgr::rdma
