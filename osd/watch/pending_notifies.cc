// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/pending_notifies.h"

#include <algorithm>
#include <utility>

// A watcher is told by a message, and `done` runs from a posted function: nothing that is called
// here calls back.

namespace lunar::osd {

using std::chrono::milliseconds;

namespace {

constexpr uint64_t kNotifyOverhead = 512;
constexpr uint64_t kWatcherOverhead = 256;  // in the sets, the result, and its message

uint64_t bytes_of(const objecter::ClientIdentity& id) {
  return id.entity.size() + id.instance.size();
}

// What a notify takes while it is under way, but for the replies of its watchers: its content, who
// is told and then named in the result, and the messages to them.
uint64_t need_of(const objecter::WatchNotify& content, const std::set<WatchKey>& watches) {
  const uint64_t message =
      content.payload.size() + content.object.name.size() + bytes_of(content.notifier);
  uint64_t need = kNotifyOverhead + message;
  for (const WatchKey& watch : watches)
    need += kWatcherOverhead + message + bytes_of(watch.client->id());
  return need;
}

}  // namespace

PendingNotifies::PendingNotifies(msgr::EventCenter& center, Limits limits, WatchCounters& counters,
                                 uint32_t start)
    : center_(center),
      limits_(limits),
      counters_(counters),
      slots_(limits.slots),
      shares_(std::make_shared<msgr::FairShares>(
          msgr::FairShares::Limits{limits.bytes, limits.bytes, 0})),
      next_id_((uint64_t{start} << 32) + 1) {}

PendingNotifies::~PendingNotifies() {
  for (auto& [id, notify] : notifies_) center_.cancel(notify.timer);
}

void PendingNotifies::begin(const void* token, objecter::WatchNotify content,
                            const std::set<WatchKey>& watches,
                            const objecter::WatchSettling& settling, Done done) {
  const uint64_t id = next_id_++;
  PendingNotify& notify = notifies_[id];
  of_object_[content.object].insert(id);
  notify.token = token;
  notify.content = std::move(content);
  notify.content.notify_id = id;
  notify.content.timeout = std::min(notify.content.timeout, limits_.max_timeout);
  notify.result.settling = settling;
  notify.done = std::move(done);
  counters_.notifies_active.set(notifies_.size());
  notify.error = take_room(notify, watches);
  if (notify.error != OsdErrc::kOk) return finish(notify);
  counters_.notify.add();
  notify.deadline = center_.now() + notify.content.timeout;
  notify.waits_for = watches;
  for (const WatchKey& watch : watches) tell(notify, watch);
  notify.timer = center_.run_after(notify.content.timeout, [this, id] { time_out(id); });
  finish_if_complete(notify);
}

PendingNotifies::OsdErrc PendingNotifies::take_room(PendingNotify& notify,
                                                    const std::set<WatchKey>& watches) {
  if (is_stopped_) return OsdErrc::kShutdown;
  notify.share = shares_->open(notify.content.notifier.entity);
  notify.need = need_of(notify.content, watches);
  notify.has_slot = shares_->allows(*notify.share, notify.need) &&
                    slots_.take(notify.content.object, notify.content.notifier);
  if (notify.has_slot) {
    notify.held = shares_->hold(notify.share, notify.need);
    return OsdErrc::kOk;
  }
  counters_.notify_refused.add();
  return OsdErrc::kBusy;
}

void PendingNotifies::tell(PendingNotify& notify, const WatchKey& watch) {
  objecter::WatchNotify message = notify.content;
  message.cookie = watch.cookie;
  // Rounded up: a watcher that acks within it is in time.
  message.timeout =
      std::max(milliseconds(0), std::chrono::ceil<milliseconds>(notify.deadline - center_.now()));
  std::vector<std::byte> front;
  encode(message, front);
  if (!watch.client->try_tell(objecter::MessageType::kWatchNotify, std::move(front))) {
    notify.untold.insert(watch);
    return;
  }
  notify.untold.erase(watch);
  counters_.notify_out.add();
}

bool PendingNotifies::take_ack(const WatchKey& watch, const ObjectId& object, uint64_t notify_id,
                               ConstBytes reply) {
  const auto at = notifies_.find(notify_id);
  if (at == notifies_.end() || at->second.content.object != object) return false;
  PendingNotify& notify = at->second;
  if (notify.waits_for.erase(watch) == 0) return false;
  notify.untold.erase(watch);
  counters_.notify_ack.add();
  objecter::NotifyAck& ack = notify.result.acks.emplace_back();
  ack.who = {watch.client->id(), watch.cookie};
  if (notify.ack_bytes + reply.size() <= objecter::WatchLimits::kMaxAckBytes &&
      shares_->allows(*notify.share, reply.size())) {
    notify.ack_bytes += reply.size();
    notify.held.resize(notify.need + notify.ack_bytes);
    ack.reply.assign(reply.begin(), reply.end());
  }
  finish_if_complete(notify);
  return true;
}

void PendingNotifies::tell_again(const WatchKey& watch, const ObjectId& object) {
  const auto ids = of_object_.find(object);
  if (ids == of_object_.end()) return;
  for (const uint64_t id : ids->second) {
    PendingNotify& notify = notifies_.at(id);
    if (notify.waits_for.contains(watch)) tell(notify, watch);
  }
}

void PendingNotifies::tell_untold(const WatchKey& watch, const ObjectId& object) {
  const auto ids = of_object_.find(object);
  if (ids == of_object_.end()) return;
  for (const uint64_t id : ids->second) {
    PendingNotify& notify = notifies_.at(id);
    if (notify.untold.contains(watch)) tell(notify, watch);
  }
}

void PendingNotifies::on_watch_ended(const WatchKey& watch, const ObjectId& object, bool is_lost) {
  const auto ids = of_object_.find(object);
  if (ids == of_object_.end()) return;
  for (const uint64_t id : ids->second) {
    PendingNotify& notify = notifies_.at(id);
    if (notify.waits_for.erase(watch) == 0) continue;
    notify.untold.erase(watch);
    if (is_lost) miss(notify, watch);
    finish_if_complete(notify);
  }
}

void PendingNotifies::miss(PendingNotify& notify, const WatchKey& watch) {
  counters_.notify_missed.add();
  notify.result.missed.push_back({watch.client->id(), watch.cookie});
}

void PendingNotifies::time_out(uint64_t id) {
  PendingNotify& notify = notifies_.at(id);
  notify.timer = msgr::TimerId::kNone;
  for (const WatchKey& watch : std::exchange(notify.waits_for, {})) {
    miss(notify, watch);
    // What it was told in a session that has ended may be lost with it.
    if (notify.untold.contains(watch) || !watch.client->has_connections())
      watch.client->note_missed(notify.content.object, watch.cookie);
  }
  notify.untold.clear();
  finish(notify);
}

void PendingNotifies::finish_if_complete(PendingNotify& notify) {
  if (notify.waits_for.empty()) finish(notify);
}

// It stays until its `done` runs, so that it can still be taken back.
void PendingNotifies::finish(PendingNotify& notify) {
  if (notify.is_finished) return;
  notify.is_finished = true;
  center_.cancel(std::exchange(notify.timer, msgr::TimerId::kNone));
  center_.post([this, id = notify.content.notify_id] { run_done(id); });
}

void PendingNotifies::run_done(uint64_t id) {
  const auto at = notifies_.find(id);
  if (at == notifies_.end()) return;  // taken back
  Done done = std::move(at->second.done);
  Result<objecter::NotifyResult> result = std::move(at->second.result);
  if (at->second.error != OsdErrc::kOk) result = failure(at->second.error);
  msgr::FairShares::Held held = std::move(at->second.held);
  forget(at);
  done(std::move(result), std::move(held));
}

bool PendingNotifies::take_back(const void* token) {
  const auto at = std::find_if(notifies_.begin(), notifies_.end(),
                               [&](const auto& each) { return each.second.token == token; });
  if (at == notifies_.end()) return false;
  forget(at);
  return true;
}

void PendingNotifies::forget(std::map<uint64_t, PendingNotify>::iterator notify) {
  center_.cancel(notify->second.timer);
  const auto ids = of_object_.find(notify->second.content.object);
  ids->second.erase(notify->first);
  if (ids->second.empty()) of_object_.erase(ids);
  if (notify->second.has_slot)
    slots_.give_back(notify->second.content.object, notify->second.content.notifier);
  notifies_.erase(notify);
  counters_.notifies_active.set(notifies_.size());
}

void PendingNotifies::stop() {
  is_stopped_ = true;
  for (auto& [id, notify] : notifies_) {
    if (!notify.is_finished) notify.error = OsdErrc::kShutdown;
    finish(notify);
  }
}

}  // namespace lunar::osd
