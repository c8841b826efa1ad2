// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "common/result.h"
#include "msgr/wire/frame.h"

namespace lunar {
class Config;
}

namespace lunar::msgr::rdma {

using Gid = std::array<uint8_t, 16>;
enum class GidType : uint8_t { kInfiniBand, kRoceV1, kRoceV2 };

// How far a key that is handed to a peer reaches.
enum class RkeyScope : uint8_t {
  kWindow,  // a type-2 memory window over the buffer, bound to one QP, invalidated afterwards
  kArena,   // the whole registered chunk the buffer lies in
};

// The ms_async_rdma_* options, and what an RDMA stack takes from the messenger's. Immutable.
struct RdmaOptions {
  FrameLimits limits;
  bool crc_data = true;

  std::string device_name;  // empty: chosen by address, then the first usable one
  uint8_t port_num = 0;     // 0: chosen
  int gid_index = -1;       // -1: chosen (RoCEv2, IPv4-mapped, of the local address)
  std::optional<Gid> local_gid;
  std::optional<GidType> gid_type;
  uint8_t service_level = 0;
  uint8_t traffic_class = 0;  // DSCP << 2
  bool use_cm = false;        // rdma_cm carries connections over, and not metadata over TCP
  bool may_fall_back = true;  // to TCP
  std::chrono::nanoseconds fallback_timeout{std::chrono::seconds(2)};

  bool use_srq = true;
  uint32_t segment_bytes = 8u << 10;  // of one receive buffer: the eager size
  uint32_t receive_buffers = 1024;    // of a worker's SRQ
  uint32_t receive_queue_len = 64;    // of a QP without SRQ; with one, most credits lent to a peer
  uint32_t send_buffers = 256;        // bounce segments of a worker
  uint32_t send_queue_len = 128;      // work requests of one QP
  uint32_t max_read_depth = 16;       // READs in flight; further bounded by device and peer
  uint32_t fragment_bytes = 512u << 10;  // of remote_read() and remote_write()
  bool use_hugepages = false;
  std::size_t staging_bytes = 256u << 20;    // budget of buffers()
  std::size_t front_end_bytes = 256u << 20;  // budget of front_end_buffers()
  RkeyScope rkey_scope = RkeyScope::kWindow;
  uint8_t ack_timeout = 14;  // as ibv_qp_attr::timeout: 4.096 µs × 2^n until a packet is sent again
  std::chrono::nanoseconds polling{0};
  std::chrono::nanoseconds drain_timeout{std::chrono::seconds(1)};

  // A sentence names the option that cannot be.
  static Outcome<RdmaOptions> from_config(const Config& config);
};

}  // namespace lunar::msgr::rdma
