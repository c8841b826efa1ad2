// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_authority.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/log_limited.h"
#include "osd/map/map_boot.h"
#include "osd/map/map_restore.h"
#include "osd/map/unknown_pools.h"

namespace lunar::osd {

using objecter::OsdMap;
using objecter::OsdMapRef;

namespace {
constexpr objecter::Epoch kMaxEpochAhead = 10'000 * kRestoreGap;
}  // namespace

Outcome<OsdMapRef> load_map(const ServerRecords& records) {
  const auto record = records.get_record(kMapRecord);
  if (!record) return failure(OsdErrc::kNoSuchObject, "the store has no cluster map yet");
  auto map = objecter::decode_osd_map(*record);
  if (!map) {
    return failure(map.error().code,
                   "the cluster map in the store cannot be used: " + map.error().message);
  }
  return std::make_shared<const OsdMap>(std::move(*map));
}

struct MapAuthority::CommandProposal final : MapProposal {
  std::string text;
  UniqueFunction<void(objecter::CommandReply)> done;
  objecter::CommandReply reply;

  std::optional<OsdMap> decide(const OsdMap& map) override {
    CommandChange change = run_map_command(map, text);
    reply = std::move(change.reply);
    return std::move(change.next);
  }
  void refuse(OsdErrc error, std::string sentence) override {
    done({error, 0, std::move(sentence)});
  }
  void answer(objecter::Epoch epoch) override {
    if (reply.error == OsdErrc::kOk) reply.epoch = epoch;
    done(std::move(reply));
  }
};

struct MapAuthority::BootProposal final : MapProposal {
  objecter::OsdBoot boot;
  MayChange may_change;
  UniqueFunction<void(objecter::OsdBootReply)> done;
  objecter::OsdBootReply reply;

  std::optional<OsdMap> decide(const OsdMap& map) override {
    BootChange change = boot_osd(map, boot);
    if (change.next && may_change) {
      if (const auto allowed = may_change(boot); !allowed) {
        reply = {static_cast<OsdErrc>(allowed.error().code.value()), 0, allowed.error().message};
        return std::nullopt;
      }
    }
    reply = std::move(change.reply);
    return std::move(change.next);
  }
  void refuse(OsdErrc error, std::string sentence) override {
    done({error, 0, std::move(sentence)});
  }
  void answer(objecter::Epoch epoch) override {
    if (reply.error == OsdErrc::kOk) reply.epoch = epoch;
    done(std::move(reply));
  }
};

struct MapAuthority::DownProposal final : MapProposal {
  objecter::OsdId osd = -1;
  uint64_t incarnation = 0;
  bool is_change = false;
  std::vector<UniqueFunction<void(Outcome<void>)>> dones;  // of all who said so while it waited

  std::optional<OsdMap> decide(const OsdMap& map) override {
    const objecter::OsdInfo* const known = map.find_osd(osd);
    // Another start of it may have come while this one waited for its turn.
    if (known == nullptr || !known->up || known->incarnation != incarnation) return std::nullopt;
    OsdMap next = map;
    for (objecter::OsdInfo& info : next.osds)
      if (info.id == osd) mark_down(info);
    is_change = true;
    return next;
  }
  void refuse(OsdErrc error, std::string sentence) override {
    LUNAR_LOG_LIMITED(kMap, 0, "osd.{} cannot be marked down: {}", osd, sentence);
    for (auto& done : dones) done(failure(error, sentence));
  }
  void answer(objecter::Epoch) override {
    if (is_change) LUNAR_LOG(kMap, 0, "osd.{} is down", osd);
    for (auto& done : dones) done({});
  }
};

struct MapAuthority::LaterEpochProposal final : MapProposal {
  objecter::Epoch known = 0;

  std::optional<OsdMap> decide(const OsdMap& map) override {
    if (known <= map.epoch) return std::nullopt;
    OsdMap next = map;
    next.epoch = known;
    LUNAR_LOG(kMap, 0, "a server has map epoch {}, from before the restore: ours becomes later",
              known);
    return next;
  }
  void refuse(OsdErrc, std::string sentence) override {
    LUNAR_ERROR(kMap, "the restored map is older than what a server has: {}", sentence);
  }
  void answer(objecter::Epoch) override {}
};

MapAuthority::MapAuthority(ServerRecords& records, StoreFencing& fencing, OsdMapRef map,
                           UniqueFunction<void(OsdMapRef)> on_map)
    : records_(records), fencing_(fencing), map_(std::move(map)), on_map_(std::move(on_map)) {}

// Of those whose turn has not come; null if there is none.
template <typename Proposal, typename IsSought>
Proposal* MapAuthority::find_waiting(IsSought is_sought) const {
  for (std::size_t i = is_busy_ ? 1 : 0; i < queue_.size(); ++i) {
    auto* const proposal = dynamic_cast<Proposal*>(queue_[i].get());
    if (proposal != nullptr && is_sought(*proposal)) return proposal;
  }
  return nullptr;
}

bool MapAuthority::has_room_for_command() const {
  if (waiting() < kMaxCommands) return true;
  std::size_t commands = 0;
  find_waiting<CommandProposal>([&](const CommandProposal&) { return ++commands == kMaxCommands; });
  return commands < kMaxCommands && waiting() < kMaxWaiting;
}

void MapAuthority::command(std::string text, UniqueFunction<void(objecter::CommandReply)> done) {
  if (!has_room_for_command())
    return done({OsdErrc::kBusy, 0, "too many commands wait for the map authority; try again"});
  auto pending = std::make_unique<CommandProposal>();
  pending->text = std::move(text);
  pending->done = std::move(done);
  add(std::move(pending));
}

void MapAuthority::boot(objecter::OsdBoot boot, MayChange may_change,
                        UniqueFunction<void(objecter::OsdBootReply)> done) {
  if (BootProposal* const older = find_waiting<BootProposal>(
          [&](const BootProposal& each) { return each.boot.osd == boot.osd; })) {
    older->boot = std::move(boot);
    older->may_change = std::move(may_change);
    auto older_done = std::exchange(older->done, std::move(done));
    return older_done({OsdErrc::kBusy, 0,
                       fmt::format("a later boot of osd.{} has come before it was the turn of this "
                                   "one",
                                   older->boot.osd)});
  }
  if (waiting() >= kMaxWaiting)
    return done({OsdErrc::kBusy, 0, "too many boots wait for the map authority"});
  auto pending = std::make_unique<BootProposal>();
  pending->boot = std::move(boot);
  pending->may_change = std::move(may_change);
  pending->done = std::move(done);
  add(std::move(pending));
}

void MapAuthority::on_known_epoch(objecter::OsdId osd, objecter::Epoch epoch) {
  // Further than any number of restores brings it: somebody has made it up.
  if (epoch > map_->epoch + kMaxEpochAhead) return;
  latest_known_ = std::max(latest_known_, epoch);
  if (known_epochs_.size() < OsdMap::kMaxOsds || known_epochs_.contains(osd))
    known_epochs_[osd] = epoch;
  if (!is_busy_) catch_up();  // else when that is written
}

void MapAuthority::catch_up() {
  if (map_->unknown_pools.is_empty()) return;  // it was not restored
  objecter::Epoch known = 0;
  for (const objecter::OsdInfo& osd : map_->osds) {
    const auto at = known_epochs_.find(osd.id);
    if (at != known_epochs_.end() && !osd.store.is_nil() && osd.incarnation == 0)
      known = std::max(known, at->second);
  }
  if (known <= map_->epoch) return;
  auto pending = std::make_unique<LaterEpochProposal>();
  pending->known = known;
  add(std::move(pending));
}

void MapAuthority::osd_is_down(objecter::OsdId osd, UniqueFunction<void(Outcome<void>)> done) {
  const objecter::OsdInfo* const known = map_->find_osd(osd);
  const uint64_t incarnation = known == nullptr ? 0 : known->incarnation;
  if (DownProposal* const same = find_waiting<DownProposal>([&](const DownProposal& each) {
        return each.osd == osd && each.incarnation == incarnation;
      }))
    return same->dones.push_back(std::move(done));
  auto pending = std::make_unique<DownProposal>();
  pending->osd = osd;
  pending->incarnation = incarnation;
  pending->dones.push_back(std::move(done));
  add(std::move(pending));
}

void MapAuthority::add(std::unique_ptr<MapProposal> proposal) {
  queue_.push_back(std::move(proposal));
  if (!is_busy_) next();
}

// Whoever is answered is in the queue no more: he may come back at once.
void MapAuthority::next() {
  while (!is_busy_ && !queue_.empty()) {
    std::optional<OsdMap> proposed = queue_.front()->decide(*map_);
    if (proposed) {
      // A restored map brings its own epoch.
      if (proposed->epoch > map_->epoch)
        proposed->epoch = std::max(proposed->epoch, latest_known_ + kRestoreGap);
      proposed->epoch = std::max(proposed->epoch, map_->epoch) + 1;
      if (const auto valid = objecter::validate(*proposed); valid) {
        is_busy_ = true;
        fence_and_publish(std::move(*proposed));
        return;
      } else {
        const auto refused = std::move(queue_.front());
        queue_.pop_front();
        refused->refuse(static_cast<OsdErrc>(valid.error().code.value()), valid.error().message);
      }
    } else {
      const auto answered = std::move(queue_.front());
      queue_.pop_front();
      answered->answer(map_->epoch);
    }
  }
}

// A client of our map that is not in this one, and not fenced yet; empty if there is none.
std::string MapAuthority::unfenced_client(const OsdMap& map) const {
  for (const objecter::OsdInfo& before : map_->osds) {
    const std::string& client = before.rados_client;
    if (client.empty() || fenced_.contains(client)) continue;
    const objecter::OsdInfo* const now = map.find_osd(before.id);
    // A later start of the same store has fenced those before it (open_rados_store()).
    const bool is_superseded =
        now != nullptr && now->store == before.store && !now->rados_client.empty();
    if (!is_superseded) return client;
  }
  return {};
}

void MapAuthority::fence_and_publish(OsdMap map) {
  const std::string client = unfenced_client(map);
  if (client.empty()) return publish(std::move(map));
  if (client == fencing_.client())
    return give_up(OsdErrc::kInvalid,
                   "that server is the map authority, and nobody else could fence it: stop it "
                   "instead");
  LUNAR_LOG(kMap, 0, "the RADOS client {} is being kept from writing", client);
  fencing_.fence(client, [this, client, map = std::move(map)](Outcome<void> fenced) mutable {
    if (!fenced)
      return give_up(static_cast<OsdErrc>(fenced.error().code.value()), fenced.error().message);
    fenced_.insert(client);
    fence_and_publish(std::move(map));
  });
}

// Nothing changes by the first of the queue.
void MapAuthority::give_up(OsdErrc error, std::string sentence) {
  is_busy_ = false;
  fenced_.clear();
  const auto proposal = std::move(queue_.front());
  queue_.pop_front();
  proposal->refuse(error, std::move(sentence));
  go_on();
}

void MapAuthority::go_on() {
  if (!is_busy_) next();
  if (!is_busy_ && drained_) std::exchange(drained_, {})();
}

void MapAuthority::publish(OsdMap map) {
  std::vector<std::byte> record;
  objecter::encode(map, record);
  proposed_ = std::make_shared<const OsdMap>(std::move(map));
  records_.put_record(kMapRecord, std::move(record), [this](std::error_code error) {
    const OsdMapRef proposed = std::exchange(proposed_, nullptr);
    if (error) {
      LUNAR_ERROR(kMap, "the map cannot be written: {}", error.message());
      return give_up(wire_error(error), "the authority cannot write the map: " + error.message());
    }
    is_busy_ = false;
    fenced_.clear();
    const auto proposal = std::move(queue_.front());
    queue_.pop_front();
    log_unknown_pools(*map_, *proposed);
    map_ = proposed;
    on_map_(map_);
    proposal->answer(map_->epoch);
    if (!is_busy_) catch_up();
    go_on();
  });
}

void MapAuthority::drain(UniqueFunction<void()> done) { drained_ = std::move(done); }

}  // namespace lunar::osd
