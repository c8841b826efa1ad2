// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/counters.h"

#include <utility>

namespace lunar::msgr::rdma {
namespace {

struct Described {
  const char* name;
  const char* help;
  const char* unit = "";
};
// In the order of Count.
constexpr std::array<Described, static_cast<std::size_t>(Count::kCount)> kDescribed = {{
    {"posts", "calls that posted work requests"},
    {"sends", "segments sent that carry frames"},
    {"send_bytes", "bytes of frames sent", "bytes"},
    {"inline_sends", "segments that were posted with IBV_SEND_INLINE"},
    {"copied_bytes", "bytes of frames sent that were copied", "bytes"},
    {"gathered_bytes", "bytes of frames sent from where they lay: copies avoided", "bytes"},
    {"receives", "segments received that carry frames"},
    {"receive_bytes", "bytes of frames received", "bytes"},
    {"credit_segments", "segments sent for credits alone"},
    {"credit_stalls", "times that frames waited for a credit of the peer"},
    {"queue_stalls", "times that work waited for a slot of the send queue"},
    {"bounce_stalls", "times that frames waited for a bounce buffer"},
    {"reads", "RDMA READs posted"},
    {"read_bytes", "bytes of RDMA READs posted", "bytes"},
    {"writes", "RDMA WRITEs posted"},
    {"write_bytes", "bytes of RDMA WRITEs posted", "bytes"},
    {"binds", "memory windows bound"},
    {"invalidations", "memory windows invalidated"},
    {"rnr_errors", "sends that met no receive buffer for too long"},
    {"retry_errors", "sends that the peer never acknowledged"},
    {"flushes", "work requests flushed by an ending QP"},
    {"other_errors", "work requests that failed otherwise"},
    {"async_events",
     "asynchronous verbs events that concerned this QP, or this worker's queues and QPs"},
}};

}  // namespace

RdmaCounters::RdmaCounters(PerfRegistry& registry, std::string name)
    : group_(registry, std::move(name)) {
  for (std::size_t i = 0; i < counters_.size(); ++i) {
    counters_[i] = &group_.counter(kDescribed[i].name, kDescribed[i].help, kDescribed[i].unit);
  }
}

}  // namespace lunar::msgr::rdma
