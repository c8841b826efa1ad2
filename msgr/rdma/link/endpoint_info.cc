// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/endpoint_info.h"

#include <algorithm>

#include "msgr/errors.h"

namespace lunar::msgr::rdma {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kCmVersion = 2;  // of what has a ticket
constexpr uint8_t kFlagOneSided = 1;
constexpr uint32_t kMax24Bits = 0xffffff;
constexpr uint32_t kMinSegmentBytes = 512;
constexpr uint32_t kMaxSegmentBytes = 8 + 0xffff;  // its header counts what follows in 16 bits

void put_owner(ByteWriter& out, const EndpointInfo& info) {
  out.put(info.segment_bytes);
  out.put(info.credits);
  out.put(info.read_depth);
  out.put(info.read_initiate);
  out.put(info.one_sided ? kFlagOneSided : uint8_t{0});
  out.put(uint8_t{0});
}

void get_owner(ByteReader& in, EndpointInfo& info) {
  info.segment_bytes = in.get<uint32_t>();
  info.credits = in.get<uint16_t>();
  info.read_depth = in.get<uint8_t>();
  info.read_initiate = in.get<uint8_t>();
  const auto flags = in.get<uint8_t>();
  const auto reserved = in.get<uint8_t>();
  info.one_sided = (flags & kFlagOneSided) != 0;
  // Unknown flags are for newer peers; the rest is bounded here so that nobody has to later.
  if (reserved != 0 || info.credits == 0 || info.segment_bytes < kMinSegmentBytes ||
      info.segment_bytes > kMaxSegmentBytes) {
    in.mark_bad();
  }
}

CmTicket get_ticket(ByteReader& in) {
  CmTicket ticket{};
  const ConstBytes bytes = in.get_bytes(ticket.size());
  std::copy(bytes.begin(), bytes.end(), ticket.begin());
  if (ticket == CmTicket{}) in.mark_bad();
  return ticket;
}

}  // namespace

std::vector<std::byte> encode(const EndpointInfo& info) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.put(kVersion);
  out.put(static_cast<uint8_t>(info.mtu));
  out.put(info.lid);
  out.put(info.qp_num);
  out.put(info.psn);
  out.put_bytes(std::as_bytes(std::span(info.gid)));
  put_owner(out, info);
  return bytes;
}

Result<EndpointInfo> decode_endpoint_info(ConstBytes bytes) {
  ByteReader in(bytes);
  EndpointInfo info;
  if (in.get<uint8_t>() != kVersion) in.mark_bad();
  const auto mtu = in.get<uint8_t>();
  info.lid = in.get<uint16_t>();
  info.qp_num = in.get<uint32_t>();
  info.psn = in.get<uint32_t>();
  const ConstBytes gid = in.get_bytes(info.gid.size());
  get_owner(in, info);
  if (!in.is_finished() || mtu < IBV_MTU_256 || mtu > IBV_MTU_4096 || info.qp_num == 0 ||
      info.qp_num > kMax24Bits || info.psn > kMax24Bits) {
    return failure(MsgrErrc::kBadFrame);
  }
  info.mtu = static_cast<ibv_mtu>(mtu);
  std::copy(gid.begin(), gid.end(), reinterpret_cast<std::byte*>(info.gid.data()));
  return info;
}

std::vector<std::byte> encode_cm_endpoint(const CmTicket& ticket) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.put(kCmVersion);
  out.put(uint8_t{0});
  out.put_bytes(ticket);
  return bytes;
}

Result<CmTicket> decode_cm_endpoint(ConstBytes bytes) {
  ByteReader in(bytes);
  if (in.get<uint8_t>() != kCmVersion) in.mark_bad();
  if (in.get<uint8_t>() != 0) in.mark_bad();
  const CmTicket ticket = get_ticket(in);
  if (!in.is_finished()) return failure(MsgrErrc::kBadFrame);
  return ticket;
}

std::vector<std::byte> encode_private_data(const CmPrivateData& data) {
  std::vector<std::byte> bytes;
  ByteWriter out(bytes);
  out.put(kCmVersion);
  out.put(uint8_t{0});
  put_owner(out, data.info);
  out.put_bytes(data.ticket);
  return bytes;
}

Result<CmPrivateData> decode_private_data(ConstBytes bytes) {
  // The CM pads what it carries with zeros, up to its own limit.
  constexpr std::size_t kLength = 2 + 10 + std::tuple_size_v<CmTicket>;
  if (bytes.size() < kLength) return failure(MsgrErrc::kBadFrame);
  const ConstBytes padding = bytes.subspan(kLength);
  if (std::any_of(padding.begin(), padding.end(), [](std::byte b) { return b != std::byte{0}; })) {
    return failure(MsgrErrc::kBadFrame);
  }
  ByteReader in(bytes.first(kLength));
  CmPrivateData data;
  if (in.get<uint8_t>() != kCmVersion) in.mark_bad();
  if (in.get<uint8_t>() != 0) in.mark_bad();
  get_owner(in, data.info);
  data.ticket = get_ticket(in);
  if (!in.is_finished()) return failure(MsgrErrc::kBadFrame);
  return data;
}

}  // namespace lunar::msgr::rdma
