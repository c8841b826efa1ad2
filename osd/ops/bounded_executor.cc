// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/bounded_executor.h"

#include <algorithm>
#include <utility>

namespace lunar::osd {

BoundedExecutor::BoundedExecutor(const OpEnvironment& environment, const Limits& limits,
                                 OpExecutor::OnDone on_done)
    : limits_(limits),
      on_done_(std::move(on_done)),
      lists_(limits.lists),
      executor_(environment, [this](ClientOpRef op, OpResultRef result) {
        on_executed(std::move(op), std::move(result));
      }) {}

void BoundedExecutor::submit(ClientOpRef op) {
  if (op->is(OpCode::kList)) {
    lists_.add(std::move(op));
    return start_lists();
  }
  if (must_wait()) {
    auto& queue = waiting_[op->session];
    if (queue.empty()) turns_.push_back(op->session);
    ++waiting_of_[op->entity()];
    queue.push_back(std::move(op));
    ++waiting_count_;
    return;
  }
  ++executing_;
  executor_.submit(std::move(op));
}

bool BoundedExecutor::has_room(const ClientOp& op) const {
  if (op.is(OpCode::kList)) return lists_.has_room(op);
  if (!must_wait()) return true;
  const auto of_entity = waiting_of_.find(op.entity());
  const std::size_t held = of_entity == waiting_of_.end() ? 0 : of_entity->second;
  if (held + waiting_count_ >= limits_.max_waiting) return false;
  const auto own = waiting_.find(op.session);
  return own == waiting_.end() || own->second.size() < limits_.max_waiting_of_one;
}

// It waits no more.
void BoundedExecutor::count_out(const ClientOp& op) {
  --waiting_count_;
  const auto of_entity = waiting_of_.find(op.entity());
  if (--of_entity->second == 0) waiting_of_.erase(of_entity);
}

// The first op of the session whose turn it is.
ClientOpRef BoundedExecutor::take_waiting() {
  const auto turn = waiting_.find(turns_.front());
  turns_.pop_front();
  ClientOpRef op = std::move(turn->second.front());
  turn->second.pop_front();
  count_out(*op);
  if (turn->second.empty())
    waiting_.erase(turn);
  else
    turns_.push_back(turn->first);
  return op;
}

void BoundedExecutor::start_waiting() {
  while (executing_ < limits_.max_executing && waiting_count_ != 0) {
    ++executing_;
    executor_.submit(take_waiting());
  }
}

void BoundedExecutor::start_lists() {
  while (ClientOpRef op = lists_.take_next()) executor_.submit(std::move(op));
}

bool BoundedExecutor::take_out_waiting(const ClientOpRef& op) {
  if (op->is(OpCode::kList)) return lists_.take_out(op);
  const auto own = waiting_.find(op->session);
  if (own == waiting_.end() || std::erase(own->second, op) == 0) return false;
  count_out(*op);
  if (own->second.empty()) {
    std::erase(turns_, own->first);
    waiting_.erase(own);
  }
  return true;
}

std::vector<ClientOpRef> BoundedExecutor::take_back(const std::vector<ClientOpRef>& ops) {
  std::vector<ClientOpRef> taken;
  std::vector<ClientOpRef> others;
  for (const ClientOpRef& op : ops) (take_out_waiting(op) ? taken : others).push_back(op);
  for (ClientOpRef& op : executor_.cancel(others)) {
    if (op->is(OpCode::kList))
      lists_.on_ended(*op);
    else
      --executing_;
    taken.push_back(std::move(op));
  }
  start_waiting();
  start_lists();
  return taken;
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
  if (op->is(OpCode::kList)) {
    lists_.on_ended(*op);
    on_done_(std::move(op), std::move(result));
    return start_lists();
  }
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

std::deque<ClientOpRef> BoundedExecutor::stop() {
  std::deque<ClientOpRef> taken = lists_.take_all();
  while (waiting_count_ != 0) taken.push_back(take_waiting());
  return taken;
}

}  // namespace lunar::osd
