// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "msgr/rdma/device/device.h"

namespace lunar::msgr::rdma {

// What one side of an RC connection tells the other, by TCP (all of it) or as rdma_cm private data
// (the second half; the CM carries the first). Wire form: docs/protocol.md §9.
struct EndpointInfo {
  // Where the QP is.
  Gid gid{};
  uint16_t lid = 0;
  uint32_t qp_num = 0;  // 24 bits
  uint32_t psn = 0;     // 24 bits
  ibv_mtu mtu = IBV_MTU_1024;
  // What its owner takes.
  uint32_t segment_bytes = 0;  // of a receive buffer: the longest SEND
  uint16_t credits = 0;        // SENDs that may come at first
  uint8_t read_depth = 0;      // READs of ours that the owner answers at a time (responder)
  uint8_t read_initiate = 0;   // READs the owner would have in flight (initiator)
  bool one_sided = false;      // READ and WRITE by key are welcome
};

std::vector<std::byte> encode(const EndpointInfo& info);
// kBadFrame for anything out of range: these come from the network.
Result<EndpointInfo> decode_endpoint_info(ConstBytes bytes);

// Random, and good for one connection of rdma_cm: each side gives the other one over the
// authenticated link, and makes a QP for whoever shows it. Never all zero.
using CmTicket = std::array<std::byte, 16>;
// What stands for an endpoint in an offer or an answer, docs/protocol.md §8.2.
std::vector<std::byte> encode_cm_endpoint(const CmTicket& ticket);
Result<CmTicket> decode_cm_endpoint(ConstBytes bytes);

// rdma_cm private data, at most 56 bytes (RDMA_PS_TCP, rdma_connect(3)).
struct CmPrivateData {
  EndpointInfo info;  // the second half
  CmTicket ticket{};  // that the receiver of this has given
};
std::vector<std::byte> encode_private_data(const CmPrivateData& data);
Result<CmPrivateData> decode_private_data(ConstBytes bytes);

}  // namespace lunar::msgr::rdma
