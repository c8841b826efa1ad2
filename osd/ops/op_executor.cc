// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/op_executor.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>
#include <vector>

#include "common/host.h"
#include "objecter/protocol/placement.h"
#include "osd/ops/trace_values.h"
#include "tracing/tracepoints.h"

namespace lunar::osd {

using objecter::PgId;

namespace {

// The messenger takes buffers from the same pool, and does not say when it gives them back.
constexpr std::chrono::milliseconds kBufferRetry{5};

// The names that a LIST is for: of its PG, or of all PGs that are where that one is. Called on
// threads of the store, by one at a time: refers to an immutable map only. Where a PG is costs a
// draw for each member of the pool: it is found out once, and there, not on the loop.
class ListFilter {
 public:
  ListFilter(objecter::OsdMapRef map, PgId pg, bool is_of_server)
      : map_(std::move(map)),
        pool_(map_->find_pool(pg.pool)),
        pg_(pg),
        is_of_server_(is_of_server) {}

  bool operator()(const std::string& name) {
    if (pool_ == nullptr) return false;
    const PgId pg = objecter::pg_of_object(*pool_, name);
    if (pg == pg_ || !is_of_server_) return pg == pg_;
    if (osd_of_seed_.empty()) {
      osd_of_seed_.assign(pool_->pg_num, kUnknown);
      osd_ = objecter::osd_of_pg(*map_, *pool_, pg_);
    }
    objecter::OsdId& osd = osd_of_seed_[pg.seed];
    if (osd == kUnknown) osd = objecter::osd_of_pg(*map_, *pool_, pg);
    return osd == osd_;
  }

 private:
  static constexpr objecter::OsdId kUnknown = -2;
  objecter::OsdMapRef map_;
  const objecter::PoolInfo* pool_;  // of map_; or null
  PgId pg_;
  bool is_of_server_;
  objecter::OsdId osd_ = kUnknown;            // of pg_
  std::vector<objecter::OsdId> osd_of_seed_;  // as far as it was asked for
};

// A damaged object may have lost its file, and be there again after a crash: whoever lists what is
// to be deleted must find it. `names` is a page, in byte order.
void add_damaged(const UnflushedLedger& ledger, const OsdOpHeader& header, ListFilter& filter,
                 std::vector<std::string>& names) {
  const SubOp& step = header.steps.front();
  std::vector<std::string> damaged = ledger.damaged_after({header.pg.pool, step.name});
  std::erase_if(damaged, [&filter](const std::string& name) { return !filter(name); });
  if (damaged.empty()) return;
  std::vector<std::string> all;
  std::set_union(names.begin(), names.end(), damaged.begin(), damaged.end(),
                 std::back_inserter(all));
  if (all.size() > step.length) all.resize(step.length);
  names = std::move(all);
}

}  // namespace

OpExecutor::OpExecutor(const OpEnvironment& environment, OnDone on_done)
    : env_(environment), on_done_(std::move(on_done)) {}

OpExecutor::~OpExecutor() {
  LUNAR_CHECK(is_idle(), "an op executor is destroyed while ops execute");
  env_.center.cancel(retry_);
}

void OpExecutor::submit(ClientOpRef op) {
  if (op->is(OpCode::kFlush)) return flush(std::move(op));
  if (op->is(OpCode::kList)) return list(std::move(op));
  const auto at = queues_.try_emplace(op->object).first;
  ObjectQueue& queue = at->second;
  LUNAR_TRACE(lunar_osd, op_queued, op->io_id(), op->header.tid,
              static_cast<uint32_t>(queue.waiting.size() + queue.running));
  op->state = ClientOpState::kQueued;
  queue.waiting.push_back(std::move(op));
  advance(at);
}

// Begins the ops that can begin now. `has_turn`: the first op of the queue is the next to get
// buffers; false then if there are not enough of them yet. An empty queue goes.
bool OpExecutor::advance(Queues::iterator at, bool has_turn) {
  ObjectQueue& queue = at->second;
  while (!queue.waiting.empty()) {
    const ClientOpRef op = queue.waiting.front();
    const bool is_exclusive = op->is_exclusive();
    if (queue.running > 0 && (is_exclusive || queue.is_exclusive)) return true;
    const bool is_behind = !has_turn && !buffer_queue_.empty() && needs_buffers(*op, env_.limits);
    if (is_behind || !start(at, op)) {
      if (has_turn) return false;
      wait_for_buffers(at->first, *op);
      return true;
    }
    has_turn = false;
    queue.waiting.pop_front();
    ++queue.running;
    queue.is_exclusive = is_exclusive;
  }
  if (queue.running == 0) queues_.erase(at);
  return true;
}

bool OpExecutor::start(Queues::iterator at, const ClientOpRef& op) {
  const auto run = runs_.emplace(runs_.end(), env_, op);
  if (!run->take_buffers()) {
    runs_.erase(run);
    return false;
  }
  op->state = ClientOpState::kExecuting;
  ++running_;
  // The queue stays while something runs, and so both iterators are good.
  run->start([this, at, run, op](OpResultRef result) mutable {
    on_run_done(at, run, std::move(op), std::move(result));
  });
  return true;
}

void OpExecutor::on_run_done(Queues::iterator at, Runs::iterator run, ClientOpRef op,
                             OpResultRef result) {
  runs_.erase(run);
  LUNAR_CHECK(at->second.running > 0, "an op ended twice");
  if (--at->second.running == 0) at->second.is_exclusive = false;
  advance(at);
  finish(std::move(op), std::move(result));
}

void OpExecutor::finish(ClientOpRef op, OpResultRef result) {
  // While a loss is being recorded every reply waits: it would carry the old verifier.
  if (env_.ledger.is_recording()) {
    env_.ledger.wait_recorded([this, op = std::move(op), result = std::move(result)]() mutable {
      finish(std::move(op), std::move(result));
    });
    return;
  }
  --running_;
  op->state = ClientOpState::kDone;
  on_done_(std::move(op), std::move(result));
  if (!buffer_queue_.empty()) buffers_freed();
  if (drained_ && is_idle()) std::exchange(drained_, {})();
}

std::vector<ClientOpRef> OpExecutor::cancel(const std::vector<ClientOpRef>& ops) {
  std::vector<ClientOpRef> taken;
  for (const ClientOpRef& op : ops) {
    const auto found = queues_.find(op->object);
    if (found == queues_.end()) continue;
    auto& waiting = found->second.waiting;
    const auto at = std::find(waiting.begin(), waiting.end(), op);
    if (at == waiting.end()) continue;
    waiting.erase(at);
    taken.push_back(op);
  }
  for (const ClientOpRef& op : taken)
    if (const auto found = queues_.find(op->object); found != queues_.end()) advance(found);
  if (!taken.empty() && drained_ && is_idle()) env_.center.post(std::exchange(drained_, {}));
  return taken;
}

void OpExecutor::wait_for_buffers(const ObjectId& id, ClientOp& op) {
  op.waited_for_buffers(monotonic_now());
  if (std::find(buffer_queue_.begin(), buffer_queue_.end(), id) == buffer_queue_.end())
    buffer_queue_.push_back(id);
  retry_later();
}

void OpExecutor::retry_later() {
  if (retry_ != msgr::TimerId::kNone) return;
  retry_ = env_.center.run_after(kBufferRetry, [this] {
    retry_ = msgr::TimerId::kNone;
    buffers_freed();
  });
}

void OpExecutor::buffers_freed() {
  // A running op has all the buffers that it needs, so the first never waits for one behind it.
  while (!buffer_queue_.empty()) {
    ObjectId id = std::move(buffer_queue_.front());
    buffer_queue_.pop_front();
    const auto at = queues_.find(id);
    if (at == queues_.end() || advance(at, true)) continue;
    buffer_queue_.push_front(std::move(id));
    return retry_later();
  }
}

void OpExecutor::flush(ClientOpRef op) {
  op->state = ClientOpState::kExecuting;
  ++running_;
  LUNAR_TRACE(lunar_osd, op_start, op->io_id(), op->header.tid);
  LUNAR_TRACE(lunar_osd, store_submit, op->io_id(), op->header.tid,
              trace_store_kind(OpCode::kFlush), 0);
  const ImageId image = op->header.image;
  auto client = op->client;
  const uint64_t heard = op->header.steps[0].version.incarnation;
  env_.ledger.flush(image, std::move(client), heard,
                    [this, op = std::move(op)](OsdErrc error, uint64_t loss) mutable {
                      LUNAR_TRACE(lunar_osd, store_done, op->io_id(), op->header.tid,
                                  static_cast<int32_t>(error));
                      auto result = std::make_shared<OpResult>();
                      result->header.tid = op->header.tid;
                      result->header.error = error;
                      result->header.steps.resize(1);
                      result->header.steps[0].error = error;
                      result->header.steps[0].value = loss;
                      finish(std::move(op), std::move(result));
                    });
}

void OpExecutor::list(ClientOpRef op) {
  op->state = ClientOpState::kExecuting;
  ++running_;
  LUNAR_TRACE(lunar_osd, op_start, op->io_id(), op->header.tid);
  const SubOp& step = op->header.steps.front();
  ListFilter filter(op->map, op->header.pg, (step.flags & objecter::kOfServer) != 0);
  env_.store.names.list(op->header.pg.pool, step.name, static_cast<uint32_t>(step.length), filter,
                        [this, op, filter](Result<std::vector<std::string>> names) mutable {
                          if (names) add_damaged(env_.ledger, op->header, filter, *names);
                          auto result = std::make_shared<OpResult>();
                          OsdReplyHeader& header = result->header;
                          header.tid = op->header.tid;
                          header.steps.resize(1);
                          if (names) {
                            ReplyData encoded;
                            objecter::encode(*names, encoded.small);
                            header.steps[0].data_length =
                                static_cast<uint32_t>(encoded.small.size());
                            header.bytes_inline = encoded.small.size();
                            result->data.push_back(std::move(encoded));
                          } else {
                            header.error = header.steps[0].error = wire_error(names.error());
                          }
                          finish(std::move(op), std::move(result));
                        });
}

void OpExecutor::drain(UniqueFunction<void()> done) {
  if (is_idle()) return env_.center.post(std::move(done));
  drained_ = std::move(done);
}

}  // namespace lunar::osd
