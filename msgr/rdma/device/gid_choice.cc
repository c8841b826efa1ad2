// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "msgr/rdma/device/device.h"

// Which device, port and GID the traffic of a local address leaves by: choose_port(), a pure
// function of what list_devices() found.

namespace lunar::msgr::rdma {
namespace {

constexpr std::array<uint8_t, 12> kIpv4Mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool is_ipv4_mapped(const Gid& gid) noexcept {
  return std::equal(kIpv4Mapped.begin(), kIpv4Mapped.end(), gid.begin());
}
bool is_link_local(const Gid& gid) noexcept { return gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80; }

// The GID an address has on a RoCE port.
Gid gid_of(const Address& address) noexcept {
  Gid gid = address.raw();
  if (address.family() == Address::Family::kIpv4) {
    std::copy(kIpv4Mapped.begin(), kIpv4Mapped.end(), gid.begin());
    std::copy_n(address.raw().begin(), 4, gid.begin() + 12);
  }
  return gid;
}

bool is_specific(const Address& address) noexcept {
  return !address.is_unset() && !address.is_wildcard() && !address.is_loopback();
}

struct Candidate {
  const DeviceListing* device = nullptr;
  const PortListing* port = nullptr;
  const GidEntry* gid = nullptr;
};

// Higher is better; equal ones in the order of the listing.
int score(const Candidate& candidate, const Address& local) noexcept {
  const GidEntry& gid = *candidate.gid;
  int points = 0;
  if (is_specific(local) && gid.gid == gid_of(local)) points += 100;
  if (gid.type == GidType::kRoceV2) points += 10;
  if (gid.type == GidType::kInfiniBand) points += 5;
  if (is_ipv4_mapped(gid.gid)) {
    points += 4;
  } else if (!is_link_local(gid.gid)) {
    points += 2;
  }
  return points;
}

std::string names_of(std::span<const DeviceListing> devices) {
  std::string names;
  for (const DeviceListing& device : devices) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", device.name);
  }
  return names;
}

bool asks_for_gid(const RdmaOptions& options) noexcept {
  return options.gid_index >= 0 || options.local_gid || options.gid_type;
}
bool is_wanted(const GidEntry& gid, const RdmaOptions& options) noexcept {
  return (options.gid_index < 0 || gid.index == options.gid_index) &&
         (!options.local_gid || gid.gid == *options.local_gid) &&
         (!options.gid_type || gid.type == *options.gid_type);
}

// Why nothing on this device may be used, or empty; adds what may be.
std::string add_candidates(const DeviceListing& device, const RdmaOptions& options,
                           std::vector<Candidate>& candidates) {
  if (!device.problem.empty()) return fmt::format("{}: {}", device.name, device.problem);
  if (device.is_iwarp) {
    return fmt::format(
        "{} is an iWARP device: Lunar speaks RoCE and InfiniBand only; use TCP over "
        "it, ms_type = async+posix",
        device.name);
  }
  std::string problem = fmt::format("{} has no port {}", device.name, options.port_num);
  if (options.port_num == 0) problem = fmt::format("{} has no port", device.name);
  const std::size_t before = candidates.size();
  for (const PortListing& port : device.ports) {
    if (options.port_num != 0 && port.number != options.port_num) continue;
    if (!port.is_active) {
      problem = fmt::format("port {} of {} is {}: bring its link up", port.number, device.name,
                            port.state);
      continue;
    }
    for (const GidEntry& gid : device.gids) {
      if (gid.port != port.number) continue;
      if (!is_wanted(gid, options)) continue;
      candidates.push_back({&device, &port, &gid});
    }
    problem = asks_for_gid(options)
                  ? fmt::format(
                        "port {} of {} has no GID that is what ms_async_rdma_gid_idx, "
                        "_local_gid and _roce_ver ask for; `lunar rdma info` lists them",
                        port.number, device.name)
                  : fmt::format("port {} of {} has no GID: give its network interface an address",
                                port.number, device.name);
  }
  return candidates.size() > before ? std::string() : problem;
}

}  // namespace

Outcome<PortChoice> choose_port(std::span<const DeviceListing> devices, const RdmaOptions& options,
                                const Address& local) {
  if (devices.empty()) {
    return failure(std::errc::no_such_device,
                   "this host has no RDMA device: load the driver of its card, or for soft-RoCE "
                   "`modprobe rdma_rxe` and `rdma link add rxe0 type rxe netdev DEVICE`");
  }
  std::vector<Candidate> candidates;
  std::string problem;
  bool is_known = false;
  for (const DeviceListing& device : devices) {
    if (!options.device_name.empty() && device.name != options.device_name) continue;
    is_known = true;
    std::string why = add_candidates(device, options, candidates);
    if (!why.empty()) problem += fmt::format("{}{}", problem.empty() ? "" : "; ", why);
  }
  if (!is_known) {
    return failure(std::errc::no_such_device,
                   fmt::format("ms_async_rdma_device_name = {}: no such device; there are: {}",
                               options.device_name, names_of(devices)));
  }
  if (candidates.empty()) return failure(std::errc::no_such_device, std::move(problem));

  const auto best = std::max_element(
      candidates.begin(), candidates.end(),
      [&](const Candidate& a, const Candidate& b) { return score(a, local) < score(b, local); });
  PortChoice choice;
  choice.device = best->device->name;
  choice.port = best->port->number;
  choice.gid_index = best->gid->index;
  choice.gid = best->gid->gid;
  choice.gid_type = best->gid->type;
  choice.is_ethernet = best->port->is_ethernet;
  choice.lid = best->port->lid;
  choice.mtu = best->port->active_mtu;
  return choice;
}

}  // namespace lunar::msgr::rdma
