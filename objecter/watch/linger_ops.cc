// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/watch/linger_ops.h"

#include <algorithm>
#include <set>

#include "common/log.h"
#include "objecter/protocol/placement.h"

// A user may do anything inside a handler or a done: after one ran, a linger op is looked up again.
// The names of watches are used once at a time: a WATCH waits for the UNWATCH of the same name.

namespace lunar::objecter {
namespace {

constexpr std::chrono::seconds kAskLater{1};
// An UNWATCH that nobody waits for is tried until its watch must have expired.
constexpr int kTimeoutsToLeave = 2;
constexpr std::chrono::milliseconds kUnknownTimeout{std::chrono::seconds(30)};

// Whether it is worth asking the server again.
bool is_passing(const std::error_code& error) {
  return error == OsdErrc::kBusy || error == OsdErrc::kTimedOut || error == OsdErrc::kShutdown ||
         error == OsdErrc::kIoError || error == OsdErrc::kCancelled ||
         error == OsdErrc::kUnreachable || error == OsdErrc::kUnknownOutcome ||
         error.category() != osd_category();
}

}  // namespace

LingerOps::LingerOps(msgr::EventCenter& center, WatchCalls& calls, OpTable& table, OpEnding& ending,
                     OsdSessions& sessions, ObjecterCounters& counters)
    : center_(center),
      calls_(calls),
      table_(table),
      ending_(ending),
      sessions_(sessions),
      counters_(counters) {}

LingerOps::~LingerOps() {
  *self_ = nullptr;
  center_.cancel(timer_);
  for (auto& [id, linger] : lingers_) center_.cancel(linger.retry);
}

LingerOps::LingerOp* LingerOps::find(LingerId id) {
  const auto at = lingers_.find(id);
  return at == lingers_.end() ? nullptr : &at->second;
}

std::vector<LingerOps::LingerId> LingerOps::ids() const {
  std::vector<LingerId> ids;
  ids.reserve(lingers_.size());
  for (const auto& [id, linger] : lingers_) ids.push_back(id);
  return ids;
}

OsdId LingerOps::osd_of(const ObjectId& object) const {
  const PoolInfo* const pool = map_ == nullptr ? nullptr : map_->find_pool(object.pool);
  return pool == nullptr ? -1 : osd_of_pg(*map_, *pool, pg_of_object(*pool, object.name));
}

void LingerOps::finish_later(WatchDone done, std::error_code error) {
  center_.post([done = std::move(done), error]() mutable { done(error); });
}

// --- what users ask ---

void LingerOps::watch(ObjectId object, uint64_t cookie, WatchHandler& handler, WatchDone done) {
  center_.assert_in_loop();
  WatchName name(std::move(object), cookie);
  if (is_shut_down_) return finish_later(std::move(done), OsdErrc::kShutdown);
  const LingerId id = next_id_++;
  if (!by_name_.emplace(name, id).second) return finish_later(std::move(done), OsdErrc::kExists);
  const bool is_leaving = leaving_.contains(name);
  LingerOp& linger = lingers_[id];
  linger.name = std::move(name);
  linger.handler = &handler;
  linger.done = std::move(done);
  counters_.linger_active.set(lingers_.size());
  if (!is_leaving) ask(id, linger);
}

void LingerOps::unwatch(ObjectId object, uint64_t cookie, WatchDone done) {
  center_.assert_in_loop();
  const WatchName name(std::move(object), cookie);
  if (is_shut_down_) return finish_later(std::move(done), OsdErrc::kShutdown);
  Tid watch = 0;
  if (const auto known = by_name_.find(name); known != by_name_.end()) {
    const LingerId id = known->second;
    watch = lingers_.at(id).tid;
    if (WatchDone watching = remove(id)) finish_later(std::move(watching), OsdErrc::kCancelled);
  }
  leave(name, watch, std::move(done));
}

Result<std::chrono::nanoseconds> LingerOps::check(const ObjectId& object, uint64_t cookie) const {
  const auto known = by_name_.find(WatchName(object, cookie));
  if (known == by_name_.end()) return failure(OsdErrc::kWatchLost);
  const LingerOp& linger = lingers_.at(known->second);
  const OpTime now = center_.now();
  if (linger.timeout.count() == 0 || now >= linger.good_until())
    return failure(OsdErrc::kWatchLost);
  return now - linger.confirmed;
}

// --- the WATCH of a linger op ---

void LingerOps::ask(LingerId id, LingerOp& linger) {
  if (linger.tid != 0) {
    linger.must_ask = true;  // the one under way may have been answered by whom it was sent to
    return;
  }
  if (leaving_.contains(linger.name)) return;  // on_left() asks
  center_.cancel(std::exchange(linger.retry, msgr::TimerId::kNone));
  const bool is_again = linger.timeout.count() != 0;
  const OpTime now = center_.now();
  linger.must_ask = false;
  linger.incarnation = 0;
  linger.asked = now;
  linger.osd = osd_of(linger.name.first);
  std::chrono::nanoseconds timeout{0};
  if (is_again)
    timeout =
        std::max<std::chrono::nanoseconds>(linger.good_until() - now, std::chrono::milliseconds(1));
  (is_again ? counters_.linger_resend : counters_.linger_send).add();
  linger.tid =
      calls_.watch(linger.name.first, linger.name.second, is_again, timeout,
                   [this, id, name = linger.name](OpReply reply) { on_answer(id, name, reply); });
}

void LingerOps::on_answer(LingerId id, const WatchName& name, const OpReply& reply) {
  LingerOp* const linger = find(id);
  if (linger == nullptr) {  // the UNWATCH that waits for this may go
    const auto leaving = leaving_.find(name);
    if (leaving == leaving_.end() || leaving->second.watch == 0) return;
    leaving->second.watch = 0;
    return send_unwatch(name);
  }
  linger->tid = 0;
  if (!reply.error) {
    const uint64_t timeout = reply.steps.empty() ? 0 : reply.steps.front().value;
    return confirm(id, *linger,
                   std::chrono::milliseconds(
                       static_cast<int64_t>(std::clamp<uint64_t>(timeout, 1, 86'400'000))));
  }
  if (is_shut_down_) {
    if (WatchDone done = remove(id)) done(OsdErrc::kShutdown);
    return;
  }
  if (linger->done || !is_passing(reply.error)) return lose(id, reply.error);
  ask_later(id, *linger);
}

void LingerOps::confirm(LingerId id, LingerOp& linger, std::chrono::milliseconds timeout) {
  const ServerRef server = sessions_.server_of(linger.osd);
  const bool has_session = server != nullptr && server->hello();
  // The answer took longer than it is good for, or is of a session or a server that is gone.
  const OpTime good_until = linger.asked + timeout / 6 * 5;
  if (linger.must_ask || !has_session || (linger.done && center_.now() >= good_until))
    return ask_later(id, linger);
  linger.timeout = timeout;
  linger.confirmed = std::max(linger.confirmed, linger.asked);
  linger.incarnation = server->hello()->incarnation;
  const OpTime now = center_.now();
  next_ping_ = std::min(next_ping_, now - linger.asked < timeout / 10 ? now + timeout / 10 : now);
  set_timer();
  if (!linger.done) return;
  WatchDone done = std::move(linger.done);
  linger.done = nullptr;
  done({});
}

void LingerOps::ask_later(LingerId id, LingerOp& linger) {
  if (std::exchange(linger.must_ask, false)) return ask(id, linger);
  if (linger.retry != msgr::TimerId::kNone) return;
  linger.retry = center_.run_after(kAskLater, [this, id] {
    LingerOp& linger = lingers_.at(id);
    linger.retry = msgr::TimerId::kNone;
    ask(id, linger);
  });
}

// --- what ends one ---

LingerOps::WatchDone LingerOps::remove(LingerId id) {
  LingerOp& linger = lingers_.at(id);
  center_.cancel(linger.retry);
  WatchDone done = std::move(linger.done);
  by_name_.erase(linger.name);
  lingers_.erase(id);
  counters_.linger_active.set(lingers_.size());
  return done;
}

void LingerOps::lose(LingerId id, std::error_code why) {
  const LingerOp& linger = lingers_.at(id);
  const WatchName name = linger.name;
  const Tid watch = linger.tid;
  WatchHandler* const handler = linger.handler;
  WatchDone done = remove(id);
  // The server might still have it, or get it yet.
  const bool may_be_there = why == OsdErrc::kTimedOut || is_passing(why);
  if (may_be_there || watch != 0) leave(name, watch, {});
  if (done) return done(why);  // it never stood
  LUNAR_LOG(kObjecter, 0, "the watch of {} is lost: {}", name.first.name, why.message());
  counters_.watch_lost.add();
  handler->on_watch_lost(why);
}

void LingerOps::leave(const WatchName& name, Tid watch, WatchDone done) {
  const auto [at, is_new] = leaving_.try_emplace(name);
  if (!is_new) {
    // There is one already: it does for both.
    if (!done) return;
    if (at->second.done) {
      done = [first = std::move(at->second.done),
              second = std::move(done)](std::error_code error) mutable {
        first(error);
        second(error);
      };
    }
    at->second.done = std::move(done);
    return;
  }
  at->second.done = std::move(done);
  Op* const op = watch == 0 ? nullptr : table_.find(watch);
  if (op == nullptr) return send_unwatch(name);
  at->second.watch = watch;
  if (!op->is_finished) ending_.interrupt(*op, OsdErrc::kCancelled, CancelReason::kAbort);
}

void LingerOps::send_unwatch(const WatchName& name) {
  const bool is_awaited = static_cast<bool>(leaving_.at(name).done);
  const std::chrono::nanoseconds timeout =
      is_awaited ? std::chrono::nanoseconds(0) : kUnknownTimeout * kTimeoutsToLeave;
  calls_.unwatch(name.first, name.second, timeout,
                 [this, name](OpReply reply) { on_left(name, reply.error); });
}

void LingerOps::on_left(const WatchName& name, std::error_code error) {
  WatchDone done = std::move(leaving_.at(name).done);
  if (done && error && is_passing(error) && !is_shut_down_) {
    // Its user does not wait any longer, but no watch of ours may stay behind.
    leaving_.at(name).done = nullptr;
    send_unwatch(name);
    return done(error);
  }
  leaving_.erase(name);
  // Somebody watches under this name again.
  if (const auto known = by_name_.find(name); known != by_name_.end()) {
    if (is_shut_down_) {
      if (WatchDone watching = remove(known->second))
        finish_later(std::move(watching), OsdErrc::kShutdown);
    } else {
      ask(known->second, lingers_.at(known->second));
    }
  }
  if (error == OsdErrc::kNoSuchPool || error == OsdErrc::kFenced) error = {};
  if (done) done(error);
}

void LingerOps::shut_down() {
  is_shut_down_ = true;
  center_.cancel(std::exchange(timer_, msgr::TimerId::kNone));
  for (const LingerId id : ids()) {
    LingerOp& linger = lingers_.at(id);
    if (linger.tid != 0 && linger.done) continue;  // its op ends now
    if (WatchDone done = remove(id)) finish_later(std::move(done), OsdErrc::kShutdown);
  }
}

// --- servers come and go ---

void LingerOps::on_new_map(OsdMapRef map) {
  map_ = std::move(map);
  for (const LingerId id : ids()) {
    LingerOp* const linger = find(id);
    if (linger == nullptr) continue;
    const OsdId osd = osd_of(linger->name.first);
    if (osd < 0) {
      if (linger->timeout.count() != 0) lose(id, OsdErrc::kNoSuchPool);
    } else if (linger->osd < 0 && linger->tid != 0) {
      linger->osd = osd;  // its first WATCH has waited for this map
    } else if (osd != linger->osd) {
      ask(id, *linger);
    }
  }
}

bool LingerOps::is_at(const LingerOp& linger, const ServerRef& server) const {
  return linger.osd >= 0 && sessions_.server_of(linger.osd) == server;
}

void LingerOps::on_hello(const ServerRef& server) {
  for (auto& [id, linger] : lingers_) {
    if (linger.incarnation == 0 || !is_at(linger, server)) continue;
    if (linger.incarnation != server->hello()->incarnation) ask(id, linger);
  }
}

void LingerOps::on_reset(const ServerRef& server) {
  if (is_shut_down_) return;
  for (auto& [id, linger] : lingers_) {
    const bool was_asked = linger.incarnation != 0 || linger.tid != 0;
    if (was_asked && is_at(linger, server)) ask(id, linger);
  }
}

void LingerOps::on_pong(const ServerRef& server, ConstBytes front) {
  const auto ping = decode_watch_ping(front);
  if (!ping || !server->hello()) return;
  const OpTime sent{std::chrono::nanoseconds(static_cast<int64_t>(ping->stamp))};
  if (sent > center_.now()) return;
  for (auto& [id, linger] : lingers_) {
    if (!linger.is_confirmed() || !is_at(linger, server)) continue;
    if (linger.incarnation != server->hello()->incarnation) continue;
    linger.confirmed = std::max(linger.confirmed, sent);
  }
}

// --- what servers tell ---

LingerOps::LingerOp* LingerOps::find(const ServerRef& server, const WatchName& name, LingerId& id) {
  const auto known = by_name_.find(name);
  if (known == by_name_.end() || leaving_.contains(name)) return nullptr;
  id = known->second;
  LingerOp& linger = lingers_.at(id);
  return is_at(linger, server) ? &linger : nullptr;
}

void LingerOps::on_notify(const ServerRef& server, ConstBytes front) {
  const auto notify = decode_watch_notify(front);
  LingerId id = 0;
  LingerOp* const linger =
      notify ? find(server, WatchName(notify->object, notify->cookie), id) : nullptr;
  if (linger == nullptr) return;
  const OpTime now = center_.now();
  // Time may have stood still for us, and nobody else.
  if (linger->timeout.count() != 0 && now >= linger->good_until())
    return lose(id, OsdErrc::kTimedOut);
  std::erase_if(linger->notifies, [&](const auto& each) { return each.second <= now; });
  if (!linger->notifies.emplace(notify->notify_id, now + notify->timeout).second) return;
  counters_.watch_notify.add();
  const std::weak_ptr<LingerOps*> weak = self_;
  linger->handler->on_notify({notify->object, notify->cookie, notify->notify_id, notify->notifier,
                              notify->payload, notify->timeout},
                             [weak, id, notify_id = notify->notify_id](ConstBytes reply) {
                               const auto self = weak.lock();
                               if (self != nullptr && *self != nullptr)
                                 (*self)->ack(id, notify_id, reply);
                             });
}

void LingerOps::ack(LingerId id, uint64_t notify_id, ConstBytes reply) {
  const LingerOp* const linger = find(id);
  if (linger == nullptr || is_shut_down_ || !linger->notifies.contains(notify_id)) return;
  reply = reply.first(std::min(reply.size(), WatchLimits::kMaxPayloadBytes));
  // Until the server has it the notify counts as heard, if it should be told again.
  calls_.ack(linger->name.first, linger->name.second, notify_id, {reply.begin(), reply.end()},
             [this, id, notify_id](const OpReply&) {
               if (LingerOp* const acked = find(id)) acked->notifies.erase(notify_id);
             });
}

void LingerOps::on_lost(const ServerRef& server, ConstBytes front) {
  const auto lost = decode_watch_lost(front);
  LingerId id = 0;
  LingerOp* const linger = lost ? find(server, WatchName(lost->object, lost->cookie), id) : nullptr;
  if (linger == nullptr) return;
  // Another server has the object: that is no loss if we get there in time.
  if (lost->error == OsdErrc::kStaleMap) return ask(id, *linger);
  lose(id, lost->error);
}

// --- time ---

void LingerOps::set_timer() {
  center_.cancel(std::exchange(timer_, msgr::TimerId::kNone));
  bool is_needed = false;
  OpTime at = next_ping_;
  for (const auto& [id, linger] : lingers_) {
    if (linger.timeout.count() == 0) continue;
    at = is_needed ? std::min(at, linger.good_until()) : std::min(next_ping_, linger.good_until());
    is_needed = true;
  }
  if (!is_needed || is_shut_down_) return;
  const auto delay =
      std::max<std::chrono::nanoseconds>(at - center_.now(), std::chrono::nanoseconds(0));
  timer_ = center_.run_after(delay, [this] {
    timer_ = msgr::TimerId::kNone;
    on_timer();
  });
}

void LingerOps::on_timer() {
  for (const LingerId id : ids()) {
    const LingerOp* const linger = find(id);
    if (linger == nullptr || linger->timeout.count() == 0) continue;
    if (center_.now() >= linger->good_until()) lose(id, OsdErrc::kTimedOut);
  }
  if (center_.now() >= next_ping_) ping();
  set_timer();
}

void LingerOps::ping() {
  const OpTime now = center_.now();
  std::set<OsdId> osds;
  std::chrono::milliseconds shortest = std::chrono::milliseconds::max();
  for (const auto& [id, linger] : lingers_) {
    if (linger.timeout.count() != 0) shortest = std::min(shortest, linger.timeout);
    if (linger.is_confirmed()) osds.insert(linger.osd);
  }
  next_ping_ = now + shortest / 10;
  for (const OsdId osd : osds) {
    const ServerRef server = sessions_.server_of(osd);
    if (server == nullptr || !server->has_link() || !server->hello()) continue;
    counters_.linger_ping.add();
    const auto stamp = std::chrono::nanoseconds(now.time_since_epoch()).count();
    server->send(MessageType::kWatchPing, WatchPing{static_cast<uint64_t>(stamp)});
  }
}

}  // namespace lunar::objecter
