// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Decoders of endpoints, by which an RDMA peer describes its QP, and of the private data of
// rdma_cm.

#include <algorithm>

#include "common/check.h"
#include "msgr/rdma/link/endpoint_info.h"
#include "tests/fuzz/fuzz.h"

namespace lunar::fuzz {

using namespace lunar::msgr::rdma;

std::vector<std::vector<std::byte>> seeds() {
  EndpointInfo info;
  info.qp_num = 17;
  info.segment_bytes = 8192;
  info.credits = 4;
  CmTicket ticket{};
  ticket.fill(std::byte{7});
  return {encode(info), encode_private_data({info, ticket}), encode_cm_endpoint(ticket)};
}

void run_one(ConstBytes input) {
  const std::vector<std::byte> bytes(input.begin(), input.end());
  if (const auto info = decode_endpoint_info(bytes)) {
    LUNAR_CHECK(info->qp_num != 0 && info->qp_num < 1u << 24, "a QP number of 24 bits");
    LUNAR_CHECK(info->segment_bytes >= 512 && info->credits > 0, "an endpoint that can receive");
  }
  if (const auto data = decode_private_data(bytes)) {
    LUNAR_CHECK(data->info.segment_bytes >= 512 && data->info.credits > 0,
                "an endpoint that can receive");
    LUNAR_CHECK(data->ticket != CmTicket{}, "a ticket");
  }
  if (const auto ticket = decode_cm_endpoint(bytes)) {
    LUNAR_CHECK(*ticket != CmTicket{}, "a ticket");
  }
}

}  // namespace lunar::fuzz
