// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/payload_pull.h"

#include <algorithm>
#include <chrono>

#include "common/check.h"
#include "common/crc32c.h"
#include "common/host.h"
#include "common/log.h"
#include "common/log_limited.h"
#include "msgr/errors.h"
#include "tracing/tracepoints.h"

namespace lunar::osd {

PayloadPull::~PayloadPull() {
  LUNAR_CHECK(fragments_.empty(), "a pull is destroyed while READs are under way");
}

PullFault PayloadPull::check(const msgr::RegisteredBuffer& buffer) const {
  if (op_.is_given_up) return PullFault::kGivenUp;
  if (!buffer.is_registered()) return PullFault::kNoMemory;
  if (!op_.may_use_keys(delivery_.link_generation)) return PullFault::kStale;
  return op_.lease_is_over(monotonic_now()) ? PullFault::kLeaseOver : PullFault::kNone;
}

uint32_t PayloadPull::length_of(uint32_t fragment) const noexcept {
  return static_cast<uint32_t>(
      std::min<uint64_t>(delivery_.fragment_bytes, delivery_.bytes() - offset_of(fragment)));
}

void PayloadPull::pull(uint32_t number, const msgr::RegisteredBuffer& buffer, uint32_t offset,
                       Done done) {
  const uint64_t begin = offset_of(number);
  const uint32_t length = length_of(number);
  PulledFragment& fragment = fragments_[number];
  fragment.buffer = &buffer;
  fragment.offset = offset;
  fragment.done = std::move(done);
  fragment.reads = 1;  // ours, so that it does not end below
  LUNAR_TRACE(lunar_osd, pull_start, op_.io_id(), op_.header.tid, op_.header.attempt, number, begin,
              uint64_t{length});
  const auto memory = op_.client_memory.lock();
  const uint32_t at_once = memory == nullptr ? 0 : memory->link_capabilities().max_fragment_bytes;
  if (at_once == 0) {
    fragment.fault = PullFault::kStale;
  } else {
    for (const auto& range : objecter::cut_delivery(delivery_, begin, length, at_once)) {
      ++fragment.reads;
      const auto at = static_cast<uint32_t>(offset + (range.offset - begin));
      memory->remote_read(range.key, {&buffer, at, range.length},
                          [this, number](std::error_code error) { on_read(number, error); });
    }
  }
  env_.center.post([this, number] { on_read(number, {}); });
}

void PayloadPull::on_read(uint32_t number, std::error_code error) {
  PulledFragment& fragment = fragments_.at(number);
  if (error) {
    LUNAR_LOG(kOsd, 5, "tid {}: fragment {} cannot be pulled: {}", op_.header.tid, number,
              error.message());
    fragment.fault = error == msgr::MsgrErrc::kStaleKey ? PullFault::kStale : PullFault::kFailed;
  }
  if (--fragment.reads > 0) return;
  auto ended = fragments_.extract(number);
  PullFault fault = ended.mapped().fault;
  if (fault == PullFault::kNone) fault = verify(number, ended.mapped());
  const uint64_t length = length_of(number);
  LUNAR_TRACE(lunar_osd, pull_done, op_.io_id(), op_.header.tid, op_.header.attempt, number, length,
              static_cast<int32_t>(fault));
  if (fault == PullFault::kNone) {
    env_.one_sided.pulls.add();
    env_.one_sided.pull_bytes.add(length);
    bytes_pulled_ += length;
  }
  ended.mapped().done(fault);  // may destroy this
}

PullFault PayloadPull::verify(uint32_t number, const PulledFragment& fragment) const {
  if (!delivery_.has_crc) return PullFault::kNone;
  const ConstBytes bytes = fragment.buffer->bytes().subspan(fragment.offset, length_of(number));
  if (crc32c(0, bytes) == delivery_.crcs[number]) return PullFault::kNone;
  LUNAR_LOG_LIMITED(kOsd, 0, "{} tid {}: fragment {} was damaged on its way",
                    op_.client ? op_.client->to_string() : "-", op_.header.tid, number);
  return PullFault::kDamaged;
}

}  // namespace lunar::osd
