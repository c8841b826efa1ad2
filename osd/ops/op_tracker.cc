// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/op_tracker.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "common/json.h"
#include "common/log.h"
#include "objecter/protocol/op_names.h"

namespace lunar::osd {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(ClientOpState state) noexcept {
  static constexpr const char* kNames[] = {"arrived", "held", "queued", "executing", "done"};
  return kNames[static_cast<std::size_t>(state)];
}

double seconds(std::chrono::nanoseconds duration) {
  return static_cast<double>(duration.count()) / 1e9;
}

}  // namespace

std::string describe(const ClientOp& op) {
  fmt::memory_buffer out;
  fmt::format_to(std::back_inserter(out), "osd_op({} tid {} pool {} pg {} {}",
                 op.client ? op.client->to_string() : "-", op.header.tid, op.header.pg.pool,
                 op.header.pg.seed, op.header.object.empty() ? "-" : op.header.object);
  for (const SubOp& step : op.header.steps)
    fmt::format_to(std::back_inserter(out), " {} {}@{}", name_of(step.code), step.length,
                   step.offset);
  return fmt::to_string(out) + ")";
}

OpTracker::OpTracker(PerfRegistry& perf, Options options)
    : options_(options),
      perf_(perf, "osd"),
      op_(perf_.counter("op", "ops of clients that have ended")),
      op_in_bytes_(
          perf_.counter("op_in_bytes", "payload bytes that came with ops or were pulled", "bytes")),
      op_out_bytes_(
          perf_.counter("op_out_bytes", "bytes of data that replies to clients carried", "bytes")),
      op_latency_(perf_.time_average("op_latency", "time from the arrival of an op to its end")),
      op_latency_histogram_(perf_.histogram(
          "op_latency_histogram", "histogram of the time from the arrival of an op to its end")),
      op_r_(perf_.counter("op_r", "ops that have ended and change nothing")),
      op_r_out_bytes_(perf_.counter("op_r_out_bytes",
                                    "bytes of data that replies to ops that change nothing carried",
                                    "bytes")),
      op_r_latency_(perf_.time_average("op_r_latency", "latency of ops that change nothing")),
      op_w_(perf_.counter("op_w", "ops that have ended and change an object")),
      op_w_in_bytes_(
          perf_.counter("op_w_in_bytes", "data bytes of ops that change an object", "bytes")),
      op_w_latency_(perf_.time_average("op_w_latency", "latency of ops that change an object")),
      op_flush_(perf_.counter("op_flush", "FLUSH ops that have ended")),
      op_flush_latency_(perf_.time_average("op_flush_latency", "latency of FLUSH ops")),
      op_error_(perf_.counter("op_error", "ops that ended with an error")),
      reads_again_(perf_.counter("op_r_again",
                                 "ops that a client was asked to send again because their data had "
                                 "waited too long for its link, or was lost with one")),
      op_wip_(perf_.gauge("op_wip", "ops that have arrived and have not ended")) {}

void OpTracker::on_arrived(const ClientOpRef& op) {
  ops_[op.get()].op = op;
  op_wip_.set(ops_.size());
}

void OpTracker::on_ended(const ClientOp& op, OsdErrc error, std::size_t data_bytes, TimePoint now) {
  if (ops_.erase(&op) == 0) return;
  op_wip_.set(ops_.size());
  const std::chrono::nanoseconds took = now - op.arrived;
  op_.add();
  op_in_bytes_.add(op.payload_bytes());
  op_out_bytes_.add(data_bytes);
  op_latency_.add(took);
  op_latency_histogram_.add(took);
  if (error != OsdErrc::kOk) op_error_.add();
  if (op.is(OpCode::kFlush)) {
    op_flush_.add();
    op_flush_latency_.add(took);
  } else if (op.changes()) {
    op_w_.add();
    op_w_in_bytes_.add(op.data().size());
    op_w_latency_.add(took);
  } else {
    op_r_.add();
    op_r_out_bytes_.add(data_bytes);
    op_r_latency_.add(took);
  }
  remember(op, error, took, now);
}

void OpTracker::remember(const ClientOp& op, OsdErrc error, std::chrono::nanoseconds took,
                         TimePoint now) {
  if (options_.history_size == 0) return;
  const bool is_full = history_.size() >= options_.history_size;
  if (is_full && took <= history_.back().duration &&
      now - history_.back().ended < options_.history_duration)
    return;
  std::erase_if(history_,
                [&](const EndedOp& past) { return now - past.ended >= options_.history_duration; });
  const auto at = std::find_if(history_.begin(), history_.end(),
                               [&](const EndedOp& past) { return past.duration < took; });
  history_.insert(at, {describe(op), error, took, now});
  while (history_.size() > options_.history_size) history_.pop_back();
}

std::size_t OpTracker::complain(TimePoint now) {
  std::size_t slow = 0;
  // Those whose client went away before they began end without a word.
  std::erase_if(ops_, [](const auto& each) { return each.second.op.expired(); });
  op_wip_.set(ops_.size());
  for (auto& [key, entry] : ops_) {
    const auto op = entry.op.lock();
    if (!op || now - op->arrived < options_.complaint_time) continue;
    ++slow;
    if (std::exchange(entry.has_complained, true)) continue;
    LUNAR_LOG(kOsd, 0, "slow: {} is {} for {:.1f} s", describe(*op), name_of(op->state),
              seconds(now - op->arrived));
  }
  return slow;
}

std::string OpTracker::in_flight_json(TimePoint now) const {
  Json ops = Json::array();
  for (const auto& [key, entry] : ops_) {
    const auto op = entry.op.lock();
    if (!op) continue;
    ops.push_back({{"description", describe(*op)},
                   {"tid", op->header.tid},
                   {"io_id", op->io_id()},
                   {"attempt", op->header.attempt},
                   {"state", name_of(op->state)},
                   {"age", seconds(now - op->arrived)}});
  }
  return json_text({{"num_ops", ops.size()}, {"ops", ops}});
}

std::string OpTracker::historic_json(TimePoint now) const {
  Json ops = Json::array();
  for (const EndedOp& past : history_) {
    if (now - past.ended >= options_.history_duration) continue;
    ops.push_back({{"description", past.description},
                   {"duration", seconds(past.duration)},
                   {"age", seconds(now - past.ended)},
                   {"result", make_error_code(past.error).message()}});
  }
  return json_text({{"size", options_.history_size}, {"ops", ops}});
}

}  // namespace lunar::osd
