// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/bounded_executor.h"

#include <algorithm>
#include <utility>

namespace lunar::osd {

BoundedExecutor::BoundedExecutor(const OpEnvironment& environment, const Limits& limits,
                                 OpExecutor::OnDone on_done)
    : limits_(limits),
      on_done_(std::move(on_done)),
      executor_(environment, [this](ClientOpRef op, OpResultRef result) {
        on_executed(std::move(op), std::move(result));
      }) {}

void BoundedExecutor::submit(ClientOpRef op) {
  if (must_wait()) {
    waiting_.push_back(std::move(op));
    return;
  }
  ++executing_;
  executor_.submit(std::move(op));
}

void BoundedExecutor::start_waiting() {
  while (executing_ < limits_.max_executing && !waiting_.empty()) {
    ++executing_;
    ClientOpRef op = std::move(waiting_.front());
    waiting_.pop_front();
    executor_.submit(std::move(op));
  }
}

bool BoundedExecutor::take_back(const ClientOpRef& op) {
  const auto at = std::find(waiting_.begin(), waiting_.end(), op);
  if (at != waiting_.end()) {
    waiting_.erase(at);
    return true;
  }
  if (!executor_.cancel(op)) return false;
  --executing_;
  start_waiting();
  return true;
}

// As an op of no session. It may go above the limit: there is one at a time.
void BoundedExecutor::remove_object(const ObjectId& id, bool is_metadata,
                                    UniqueFunction<void()> done) {
  auto op = std::make_shared<ClientOp>();
  op->object = id;
  op->header.object = id.name;
  op->header.pg.pool = id.pool;
  op->header.steps.resize(1);
  op->header.steps[0].code = OpCode::kDelete;
  if (is_metadata) op->header.flags = objecter::kOpMetadata;
  removals_[op.get()] = std::move(done);
  ++executing_;
  executor_.submit(std::move(op));
}

void BoundedExecutor::on_executed(ClientOpRef op, OpResultRef result) {
  --executing_;
  if (!removals_.empty()) {
    if (auto removal = removals_.extract(op.get()); !removal.empty()) {
      start_waiting();
      return removal.mapped()();
    }
  }
  on_done_(std::move(op), std::move(result));
  start_waiting();
}

std::deque<ClientOpRef> BoundedExecutor::stop() { return std::exchange(waiting_, {}); }

}  // namespace lunar::osd
