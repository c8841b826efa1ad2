// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/device/device.h"

#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>

#include "common/log.h"
#include "common/mutex.h"
#include "msgr/rdma/device/feature_probe.h"

namespace lunar::msgr::rdma {
namespace {

using DeviceList = std::unique_ptr<ibv_device*, decltype(&ibv_free_device_list)>;

// Before the first registration of this process: a forked child's write to a pinned page would
// leave the parent with a copy the device knows nothing of. Kernels from 5.12 copy for the child
// instead, and then nothing is to be done. The variable must be there when ibv_fork_init() reads
// it.
void prepare_for_fork() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (ibv_is_fork_initialized() == IBV_FORK_UNNEEDED) return;
    setenv("RDMAV_HUGEPAGES_SAFE", "1", 1);
    if (const int error = ibv_fork_init(); error != 0) {
      LUNAR_LOG(kMs, 0, "ibv_fork_init: {}; child processes may damage data in flight",
                verbs_error(error).message());
    }
  });
}

DeviceList get_devices(int& count) {
  prepare_for_fork();
  errno = 0;
  return DeviceList(ibv_get_device_list(&count), &ibv_free_device_list);
}

GidType to_type(uint32_t type) noexcept {
  switch (type) {
    case IBV_GID_TYPE_ROCE_V2:
      return GidType::kRoceV2;
    case IBV_GID_TYPE_ROCE_V1:
      return GidType::kRoceV1;
    default:
      return GidType::kInfiniBand;
  }
}

std::vector<GidEntry> list_gids(ibv_context& context, std::size_t most) {
  std::vector<ibv_gid_entry> table(most);
  const ssize_t count = ibv_query_gid_table(&context, table.data(), table.size(), 0);
  std::vector<GidEntry> gids;
  for (ssize_t i = 0; i < count; ++i) {
    const ibv_gid_entry& from = table[static_cast<std::size_t>(i)];
    GidEntry gid;
    std::memcpy(gid.gid.data(), from.gid.raw, gid.gid.size());
    gid.index = static_cast<int>(from.gid_index);
    gid.port = static_cast<uint8_t>(from.port_num);
    gid.type = to_type(from.gid_type);
    std::array<char, IF_NAMESIZE> name{};
    if (from.ndev_ifindex != 0 && if_indextoname(from.ndev_ifindex, name.data()) != nullptr) {
      gid.netdev = name.data();
    }
    gids.push_back(std::move(gid));
  }
  return gids;
}

DeviceListing list_device(ibv_device& device) {
  DeviceListing listing;
  listing.name = ibv_get_device_name(&device);
  listing.is_iwarp = device.transport_type == IBV_TRANSPORT_IWARP;
  const VerbsPtr<ibv_context> context(ibv_open_device(&device));
  if (context == nullptr) {
    const int error = errno;
    listing.problem = fmt::format(
        "cannot be opened ({}): is ib_uverbs loaded, and /dev/infiniband/uverbs* there "
        "for this user?",
        verbs_error(error).message());
    return listing;
  }
  ibv_device_attr limits{};
  if (const int error = ibv_query_device(context.get(), &limits); error != 0) {
    listing.problem = fmt::format("does not tell its limits ({})", verbs_error(error).message());
    return listing;
  }
  std::size_t num_gids = 0;
  for (unsigned number = 1; number <= limits.phys_port_cnt; ++number) {
    ibv_port_attr attributes{};
    if (ibv_query_port(context.get(), static_cast<uint8_t>(number), &attributes) != 0) continue;
    PortListing port;
    port.number = static_cast<uint8_t>(number);
    port.is_active = attributes.state == IBV_PORT_ACTIVE;
    port.is_ethernet = attributes.link_layer == IBV_LINK_LAYER_ETHERNET;
    port.lid = attributes.lid;
    port.active_mtu = attributes.active_mtu;
    port.state = ibv_port_state_str(attributes.state);
    num_gids += static_cast<std::size_t>(std::max(attributes.gid_tbl_len, 0));
    listing.ports.push_back(std::move(port));
  }
  listing.gids = list_gids(*context, num_gids);
  return listing;
}

// Ids of the devices that are open, a bit each.
Mutex ids_mutex;
uint32_t ids_taken GUARDED_BY(ids_mutex) = 0;

std::optional<uint32_t> take_id() {
  const MutexLock lock(ids_mutex);
  const auto id = static_cast<uint32_t>(std::countr_one(ids_taken));
  if (id >= Device::kMaxDevices) return std::nullopt;
  ids_taken |= 1u << id;
  return id;
}

void give_id_back(uint32_t id) {
  const MutexLock lock(ids_mutex);
  ids_taken &= ~(1u << id);
}

tl::unexpected<Error> refused(const std::string& name, std::string_view verb, int error) {
  return failure(verbs_error(error),
                 fmt::format("RDMA device {}: {}: {}", name, verb, verbs_error(error).message()));
}

}  // namespace

Outcome<std::vector<DeviceListing>> list_devices() {
  int count = 0;
  const DeviceList devices = get_devices(count);
  std::vector<DeviceListing> listings;
  if (devices == nullptr) {
    const int error = errno;
    // No uverbs module: a host without RDMA, not a fault.
    if (error == ENOSYS || error == ENOENT) return listings;
    return failure(verbs_error(error),
                   fmt::format("RDMA devices cannot be listed: {}", verbs_error(error).message()));
  }
  for (int i = 0; i < count; ++i) listings.push_back(list_device(*devices.get()[i]));
  return listings;
}

Outcome<std::shared_ptr<Device>> Device::open(const std::string& name) {
  int count = 0;
  const DeviceList devices = get_devices(count);
  ibv_device* found = nullptr;
  for (int i = 0; devices != nullptr && i < count; ++i) {
    if (name == ibv_get_device_name(devices.get()[i])) found = devices.get()[i];
  }
  if (found == nullptr) {
    return failure(std::errc::no_such_device, fmt::format("RDMA device {}: it is gone", name));
  }
  const DeviceListing listing = list_device(*found);
  const auto id = take_id();
  if (!id) {
    return failure(std::errc::too_many_files_open,
                   fmt::format("RDMA device {}: {} are open already", name, kMaxDevices));
  }
  std::shared_ptr<Device> device(new Device());
  device->name_ = name;
  device->id_ = *id;  // from here on the destructor gives it back
  device->has_id_ = true;
  device->context_.reset(ibv_open_device(found));
  if (device->context_ == nullptr) return refused(name, "ibv_open_device", errno);
  if (const int error = ibv_query_device(device->context(), &device->limits_); error != 0) {
    return refused(name, "ibv_query_device", error);
  }
  device->pd_.reset(ibv_alloc_pd(device->context()));
  if (device->pd_ == nullptr) return refused(name, "ibv_alloc_pd", errno);

  const auto choice = choose_port(std::span(&listing, 1), RdmaOptions(), Address());
  if (!choice) return failure(choice.error());
  auto features = probe_features(*device->context(), *device->pd(), *choice);
  if (!features) {
    return failure(features.error(),
                   fmt::format("RDMA device {}: two QPs of its own cannot be joined: {}", name,
                               features.error().message()));
  }
  device->features_ = *features;
  LUNAR_LOG(kMs, 1,
            "RDMA device {} is open: inline {} bytes, SRQ {}, memory windows {}, SEND with "
            "invalidate {}",
            name, features->max_inline_bytes, features->srq, features->memory_windows,
            features->send_with_invalidate);
  return device;
}

Device::~Device() {
  if (has_id_) give_id_back(id_);
  if (context_ != nullptr) LUNAR_LOG(kMs, 5, "closing RDMA device {}", name_);
}

}  // namespace lunar::msgr::rdma
