// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/payload_push.h"

#include <chrono>

#include "common/crc32c.h"
#include "common/host.h"
#include "tracing/tracepoints.h"

namespace lunar::osd {

Push push_payload(OneSidedCounters& counters, msgr::RemoteMemory& memory, const ClientOp& op,
                  const OpResultRef& result) {
  using objecter::DeliveryAccess;
  const auto& delivery = op.header.delivery;
  const bool is_asked = delivery && delivery->access == DeliveryAccess::kPush &&
                        result->header.error == OsdErrc::kOk && result->data.size() == 1;
  if (!is_asked) return {};
  const ReplyData& data = result->data.front();
  if (!data.buffer || data.length != delivery->bytes()) return {};
  if (op.is_given_up) {
    counters.push_given_up.add();
    return {};
  }
  if (op.client_memory.lock().get() != &memory || !op.may_use_keys(delivery->link_generation)) {
    counters.push_stale.add();
    return {};
  }
  if (op.lease_is_over(monotonic_now())) {
    counters.push_lease_over.add();
    return {};
  }
  if (!data.buffer.is_registered()) {
    counters.push_plain.add();
    return {};
  }
  const uint32_t at_once = memory.link_capabilities().max_fragment_bytes;
  uint32_t number = 0;
  for (const auto& range : objecter::cut_delivery(*delivery, 0, data.length, at_once)) {
    LUNAR_TRACE(lunar_osd, push_start, op.io_id(), op.header.tid, op.header.attempt, number,
                range.offset, uint64_t{range.length});
    counters.pushes.add();
    counters.push_bytes.add(range.length);
    memory.remote_write(
        {&data.buffer, static_cast<uint32_t>(range.offset), range.length}, range.key,
        [result, io_id = op.io_id(), tid = op.header.tid, attempt = op.header.attempt, number,
         length = range.length](std::error_code error) {
          LUNAR_TRACE(lunar_osd, push_done, io_id, tid, attempt, number, uint64_t{length},
                      error.value());
          // An error is the end of the link; the reply goes again, with the data.
          (void)error, (void)io_id, (void)tid, (void)attempt, (void)number, (void)length;
        });
    ++number;
  }
  counters.pushed_ops.add();
  Push push;
  push.link_generation = delivery->link_generation;
  if (delivery->has_crc) push.crc = crc32c(0, data.view());
  return push;
}

}  // namespace lunar::osd
