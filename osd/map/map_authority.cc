// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_authority.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "osd/map/map_boot.h"

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
  UniqueFunction<void(objecter::OsdBootReply)> done;
  objecter::OsdBootReply reply;

  std::optional<OsdMap> decide(const OsdMap& map) override {
    BootChange change = boot_osd(map, boot);
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

  std::optional<OsdMap> decide(const OsdMap& map) override {
    const objecter::OsdInfo* const known = map.find_osd(osd);
    if (known == nullptr || !known->up) return std::nullopt;
    OsdMap next = map;
    for (objecter::OsdInfo& info : next.osds)
      if (info.id == osd) mark_down(info);
    LUNAR_LOG(kMap, 0, "osd.{} is down", osd);
    return next;
  }
  void refuse(OsdErrc, std::string sentence) override {
    LUNAR_ERROR(kMap, "osd.{} cannot be marked down: {}", osd, sentence);
  }
  void answer(objecter::Epoch) override {}
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

MapAuthority::MapAuthority(ServerRecords& records, OsdMapRef map,
                           UniqueFunction<void(OsdMapRef)> on_map)
    : records_(records),
      map_(std::move(map)),
      on_map_(std::move(on_map)),
      is_restored_(map_->epoch > kRestoreGap) {}

void MapAuthority::command(std::string text, UniqueFunction<void(objecter::CommandReply)> done) {
  auto pending = std::make_unique<CommandProposal>();
  pending->text = std::move(text);
  pending->done = std::move(done);
  add(std::move(pending));
}

void MapAuthority::boot(objecter::OsdBoot boot, UniqueFunction<void(objecter::OsdBootReply)> done) {
  auto pending = std::make_unique<BootProposal>();
  pending->boot = std::move(boot);
  pending->done = std::move(done);
  add(std::move(pending));
}

void MapAuthority::on_known_epoch(objecter::Epoch epoch) {
  // Further than any number of restores brings it: somebody has made it up.
  if (epoch > map_->epoch + kMaxEpochAhead) return;
  latest_known_ = std::max(latest_known_, epoch);
  if (!is_busy_) catch_up();  // else when that is written
}

void MapAuthority::catch_up() {
  if (!is_restored_ || latest_known_ <= map_->epoch) return;
  auto pending = std::make_unique<LaterEpochProposal>();
  pending->known = latest_known_;
  add(std::move(pending));
}

void MapAuthority::osd_is_down(objecter::OsdId osd) {
  auto pending = std::make_unique<DownProposal>();
  pending->osd = osd;
  add(std::move(pending));
}

void MapAuthority::add(std::unique_ptr<MapProposal> proposal) {
  queue_.push_back(std::move(proposal));
  if (!is_busy_) next();
}

void MapAuthority::next() {
  while (!queue_.empty()) {
    std::optional<OsdMap> proposed = queue_.front()->decide(*map_);
    if (proposed) {
      // A restored map brings its own epoch.
      if (proposed->epoch > map_->epoch)
        proposed->epoch = std::max(proposed->epoch, latest_known_ + kRestoreGap);
      proposed->epoch = std::max(proposed->epoch, map_->epoch) + 1;
      if (const auto valid = objecter::validate(*proposed); valid) {
        publish(std::move(*proposed));
        return;
      } else {
        queue_.front()->refuse(static_cast<OsdErrc>(valid.error().code.value()),
                               valid.error().message);
      }
    } else {
      queue_.front()->answer(map_->epoch);
    }
    queue_.pop_front();
  }
}

void MapAuthority::publish(OsdMap map) {
  is_busy_ = true;
  std::vector<std::byte> record;
  objecter::encode(map, record);
  proposed_ = std::make_shared<const OsdMap>(std::move(map));
  records_.put_record(kMapRecord, std::move(record), [this](std::error_code error) {
    is_busy_ = false;
    const OsdMapRef proposed = std::exchange(proposed_, nullptr);
    const auto proposal = std::move(queue_.front());
    queue_.pop_front();
    if (error) {
      LUNAR_ERROR(kMap, "the map cannot be written: {}", error.message());
      proposal->refuse(wire_error(error), "the authority cannot write the map: " + error.message());
    } else {
      is_restored_ = is_restored_ || proposed->epoch > map_->epoch + 1;
      map_ = proposed;
      on_map_(map_);
      proposal->answer(map_->epoch);
      if (!is_busy_) catch_up();
    }
    if (!is_busy_) next();
    if (!is_busy_ && drained_) std::exchange(drained_, {})();
  });
}

void MapAuthority::drain(UniqueFunction<void()> done) { drained_ = std::move(done); }

}  // namespace lunar::osd
