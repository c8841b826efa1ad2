// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/result.h"
#include "msgr/address.h"
#include "msgr/rdma/rdma_options.h"
#include "msgr/rdma/verbs.h"

namespace lunar::msgr::rdma {

// An address of a port, as a row of its GID table.
struct GidEntry {
  Gid gid{};
  int index = 0;     // in the table of the port
  uint8_t port = 0;  // from 1
  GidType type = GidType::kInfiniBand;
  std::string netdev;  // empty if it has none
};
// A port of a device, as ibv_query_port(3) describes it.
struct PortListing {
  uint8_t number = 0;  // from 1
  bool is_active = false;
  bool is_ethernet = false;
  uint16_t lid = 0;  // 0 on Ethernet
  ibv_mtu active_mtu = IBV_MTU_1024;
  std::string state;  // in words
};
// A device of the host, whether or not it can be used.
struct DeviceListing {
  std::string name;
  bool is_iwarp = false;
  std::vector<PortListing> ports;
  std::vector<GidEntry> gids;
  std::string problem;  // why it could not be opened, if so
};
// Blocks. Empty if there is none; an error only if verbs do not work at all.
Outcome<std::vector<DeviceListing>> list_devices();

// Device, port and GID that traffic leaves by.
struct PortChoice {
  std::string device;
  uint8_t port = 0;
  int gid_index = 0;
  Gid gid{};
  GidType gid_type = GidType::kInfiniBand;
  bool is_ethernet = false;
  uint16_t lid = 0;
  ibv_mtu mtu = IBV_MTU_1024;
};
// A pure function. `local` is the address our side of the TCP connection has (unset: any). What
// options name is taken or refused with a sentence; what they leave open is chosen: an active port;
// RoCEv2 before RoCEv1; the GID that maps `local`; IPv4-mapped before link-local.
Outcome<PortChoice> choose_port(std::span<const DeviceListing> devices, const RdmaOptions& options,
                                const Address& local);

// What a device really does, found by doing it at open() between two QPs of our own.
struct Features {
  uint32_t max_inline_bytes = 0;  // of one SEND; 0: none
  bool srq = false;
  bool memory_windows = false;  // type 2: bind, access through it, invalidate, refused access after
  bool send_with_invalidate = false;
};

// An opened device, its PD and limits. Thread-safe. Shared by all that uses it; closed with the
// last of it.
class Device {
 public:
  // Blocks. Probes. Each open device of a process has its own small id, reused after it is closed.
  static Outcome<std::shared_ptr<Device>> open(const std::string& name);
  ~Device();

  ibv_context* context() const noexcept { return context_.get(); }
  ibv_pd* pd() const noexcept { return pd_.get(); }
  const ibv_device_attr& limits() const noexcept { return limits_; }
  const Features& features() const noexcept { return features_; }
  const std::string& name() const noexcept { return name_; }
  static constexpr uint32_t kMaxDevices = 8;    // open at a time
  uint32_t id() const noexcept { return id_; }  // < kMaxDevices: the index of tables by device

  // Removed, or failed for good: everything on it ends, and no new link is made on it.
  bool is_gone() const noexcept { return is_gone_.load(std::memory_order_acquire); }
  void set_gone() noexcept { is_gone_.store(true, std::memory_order_release); }

 private:
  Device() = default;
  std::string name_;
  uint32_t id_ = 0;
  bool has_id_ = false;
  VerbsPtr<ibv_context> context_;
  VerbsPtr<ibv_pd> pd_;
  ibv_device_attr limits_{};
  Features features_;
  std::atomic<bool> is_gone_{false};
};

}  // namespace lunar::msgr::rdma
