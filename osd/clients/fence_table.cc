// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/clients/fence_table.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <queue>
#include <string_view>
#include <utility>
#include <vector>

#include "common/bytes.h"
#include "common/check.h"

namespace lunar::osd {
namespace {
constexpr char kRecord[] = "clients";
constexpr uint16_t kRecordVersion = 4;
constexpr uint16_t kRecordWithoutEntities = 3;  // knew no fences of whole entities
constexpr uint16_t kRecordWithoutReplaced =
    2;                                       // did not tell an operator's fence from a takeover's
constexpr uint16_t kRecordWithoutOlder = 1;  // nor which clients had older starts
constexpr std::size_t kMaxNameBytes = 512;
constexpr uint64_t kAllStarts = UINT64_MAX;  // the level of an entity that is fenced
static_assert(kMaxEntityBytes <= kMaxNameBytes && kMaxInstanceBytes <= kMaxNameBytes,
              "what gets into a record has to come out again");

StoreDone busy_unless_failed(StoreDone done) {
  return [done = std::move(done)](std::error_code error) mutable {
    done(error ? error : make_error_code(objecter::OsdErrc::kBusy));
  };
}
}  // namespace

FenceTable::FenceTable(ServerRecords& records)
    : writer_(records, kRecord, [this] { return encode(); }) {}

Outcome<std::unique_ptr<FenceTable>> FenceTable::load(ServerRecords& records) {
  std::unique_ptr<FenceTable> table(new FenceTable(records));
  const auto record = records.get_record(kRecord);
  if (record && !table->decode(*record)) {
    return failure(OsdErrc::kCorrupt,
                   "record clients of the store is damaged, or of another version of lunar-osd; it "
                   "says which clients are fenced, so the server does not start");
  }
  return table;
}

bool FenceTable::allows(const ClientName& client, uint64_t nonce) const {
  if (is_entity_fenced(client.entity)) return false;
  const auto found = clients_.find(client);
  return found == clients_.end() ||
         (nonce >= found->second.newest && nonce > found->second.fenced.in_force() &&
          nonce > found->second.replaced.in_force());
}

uint64_t FenceTable::newest_nonce(const ClientName& client) const {
  const auto found = clients_.find(client);
  return found == clients_.end() ? 0 : found->second.newest;
}

bool FenceTable::is_claimed(const ClientName& client, uint64_t nonce) const {
  const auto found = clients_.find(client);
  return found != clients_.end() && found->second.durable == nonce;
}

void FenceTable::claim(const ClientName& client, uint64_t nonce, StoreDone done) {
  Entry& entry = clients_[client];
  entry.has_older |= entry.newest != 0 && entry.newest < nonce;
  entry.newest = std::max(entry.newest, nonce);
  entry.used = ++clock_;
  evict();
  writer_.save([this, client, nonce, done = std::move(done)](std::error_code error) mutable {
    const auto found = clients_.find(client);
    if (!error && found != clients_.end())
      found->second.durable = std::max(found->second.durable, nonce);
    done(error);
  });
}

void FenceTable::on_left(const ClientName& client) {
  present_.erase(client);
  if (const auto found = clients_.find(client); found != clients_.end())
    found->second.used = ++clock_;
}

void FenceTable::evict() {
  using At = std::map<ClientName, Entry>::iterator;
  std::size_t left = 0;
  std::map<std::string_view, std::vector<At>> of_entity;  // those that may go
  for (auto at = clients_.begin(); at != clients_.end(); ++at) {
    const Entry& entry = at->second;
    const bool is_kept = entry.fenced.is_in_use() || entry.replaced.saving != 0 ||
                         entry.used == clock_ || present_.contains(at->first);
    if (is_kept) continue;
    ++left;
    of_entity[at->first.entity].push_back(at);
  }
  if (left <= kMaxClients) return;
  std::priority_queue<std::pair<std::size_t, std::string_view>> largest;
  for (auto& [entity, entries] : of_entity) {
    std::sort(entries.begin(), entries.end(), [](const At& a, const At& b) {  // the last goes first
      return std::pair(a->second.has_older, a->second.used) >
             std::pair(b->second.has_older, b->second.used);
    });
    largest.emplace(entries.size(), entity);
  }
  std::vector<At> gone;  // after the loop: the names are in them
  for (; left > kMaxClients; --left) {
    const std::string_view entity = largest.top().second;
    largest.pop();
    std::vector<At>& entries = of_entity[entity];
    gone.push_back(entries.back());
    entries.pop_back();
    if (!entries.empty()) largest.emplace(entries.size(), entity);
  }
  for (const At& at : gone) clients_.erase(at);
}

// The level is not destroyed while a change of it is being written.
void FenceTable::set(FenceLevel& level, uint64_t up_to, StoreDone done) {
  level.wanted = up_to;
  ++level.saving;
  const auto settle = [this, &level, up_to](std::error_code error) {
    --level.saving;
    if (!error)
      level.recorded = up_to;
    else if (level.saving == 0)
      level.wanted = level.recorded;
    std::erase_if(fenced_entities_, [](const auto& each) { return !each.second.is_in_use(); });
  };
  writer_.save(settle, std::move(done));
}

void FenceTable::fence(const ClientName& client, uint64_t nonce, StoreDone done) {
  LUNAR_CHECK(client.is_valid(), "a fence of a name that no record holds");
  std::size_t all = 0;
  std::size_t of_entity = 0;
  for (const auto& [name, entry] : clients_) {
    if (!entry.fenced.is_in_use() || name == client) continue;
    ++all;
    if (name.entity == client.entity) ++of_entity;
  }
  const bool has_room = all < kMaxFences && of_entity < kMaxFencesOfEntity;
  const bool is_anything = nonce != 0;  // no start of it was ever here
  if (!has_room) return writer_.save(busy_unless_failed(std::move(done)));
  if (!is_anything) return writer_.save(std::move(done));
  FenceLevel& level = clients_[client].fenced;
  set(level, std::max(level.wanted, nonce), std::move(done));
}

void FenceTable::unfence(const ClientName& client, StoreDone done) {
  const auto found = clients_.find(client);
  if (found == clients_.end() || !found->second.fenced.is_in_use())
    return writer_.save(std::move(done));
  set(found->second.fenced, 0, std::move(done));
}

void FenceTable::fence_entity(const std::string& entity, StoreDone done) {
  LUNAR_CHECK(is_entity_text(entity), "a fence of a name that no record holds");
  if (!fenced_entities_.contains(entity) && fenced_entities_.size() >= kMaxFencedEntities)
    return writer_.save(busy_unless_failed(std::move(done)));
  set(fenced_entities_[entity], kAllStarts, std::move(done));
}

void FenceTable::unfence_entity(const std::string& entity, StoreDone done) {
  const auto found = fenced_entities_.find(entity);
  if (found == fenced_entities_.end()) return writer_.save(std::move(done));
  set(found->second, 0, std::move(done));
}

bool FenceTable::is_entity_fenced(const std::string& entity) const {
  const auto found = fenced_entities_.find(entity);
  return found != fenced_entities_.end() && found->second.in_force() != 0;
}

void FenceTable::replace(const ClientName& client, uint64_t nonce, StoreDone done) {
  LUNAR_CHECK(client.is_valid(), "a fence of a name that no record holds");
  std::size_t under_way = 0;
  for (const auto& [name, entry] : clients_)
    if (name.entity == client.entity && name != client && entry.replaced.saving != 0) ++under_way;
  if (under_way >= kMaxTakeoversUnderWay) return writer_.save(busy_unless_failed(std::move(done)));
  Entry& entry = clients_[client];
  entry.has_older = true;  // it may come back
  entry.used = ++clock_;
  evict();
  set(entry.replaced, std::max(entry.replaced.wanted, nonce), std::move(done));
}

uint64_t FenceTable::replaced_up_to(const ClientName& client) const {
  const auto found = clients_.find(client);
  return found == clients_.end() ? 0 : found->second.replaced.in_force();
}

void FenceTable::drain(UniqueFunction<void()> done) {
  if (!writer_.is_busy()) return done();
  writer_.save([this, done = std::move(done)](std::error_code) mutable { drain(std::move(done)); });
}

std::vector<std::byte> FenceTable::encode() const {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  std::vector<std::string_view> entities;
  for (const auto& [entity, level] : fenced_entities_)
    if (level.wanted != 0) entities.push_back(entity);
  // As long as there is none, builds that know no fences of entities can read it.
  const bool has_entities = !entities.empty();
  writer.put(has_entities ? kRecordVersion : kRecordWithoutEntities);
  writer.put(static_cast<uint32_t>(clients_.size()));
  for (const auto& [client, entry] : clients_) {
    writer.put_string(client.entity);
    writer.put_string(client.instance);
    writer.put(entry.newest, entry.fenced.wanted, entry.used, entry.has_older,
               entry.replaced.wanted);
  }
  if (!has_entities) return out;
  writer.put(static_cast<uint32_t>(entities.size()));
  for (const std::string_view entity : entities) writer.put_string(entity);
  return out;
}

bool FenceTable::decode(ConstBytes record) {
  ByteReader reader(record);
  const auto version = reader.get<uint16_t>();
  if (version < kRecordWithoutOlder || version > kRecordVersion) return false;
  const auto count = reader.get<uint32_t>();
  if (!reader.can_hold(count, 4 + 4 + 24)) return false;
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    ClientName client;
    client.entity = reader.get_string(kMaxNameBytes);
    client.instance = reader.get_string(kMaxNameBytes);
    Entry entry;
    entry.newest = entry.durable = reader.get<uint64_t>();
    entry.fenced.wanted = entry.fenced.recorded = reader.get<uint64_t>();
    entry.used = reader.get<uint64_t>();
    entry.has_older = version == kRecordWithoutOlder || reader.get<bool>();
    // A fence that may be a takeover's is taken for one: lifting that would harm the image.
    entry.replaced.wanted = entry.replaced.recorded =
        version <= kRecordWithoutReplaced ? entry.fenced.wanted : reader.get<uint64_t>();
    clock_ = std::max(clock_, entry.used);
    clients_.emplace(std::move(client), entry);
  }
  if (version > kRecordWithoutEntities) {
    const auto entities = reader.get<uint32_t>();
    if (!reader.can_hold(entities, 4)) return false;
    for (uint32_t i = 0; i < entities && reader.ok(); ++i)
      fenced_entities_[reader.get_string(kMaxNameBytes)] = {kAllStarts, kAllStarts, 0};
  }
  return reader.is_finished();
}

std::string FenceTable::to_json(const std::string& entity, const std::string& instance) const {
  using Json = nlohmann::ordered_json;
  Json out = Json::array();
  for (const auto& [each, level] : fenced_entities_) {
    if (level.in_force() == 0 || (!entity.empty() && each != entity)) continue;
    out.push_back({{"entity", each}, {"all", true}});
  }
  const auto add = [&out](const ClientName& client, const Entry& entry) {
    out.push_back({{"entity", client.entity},
                   {"instance", client.instance},
                   {"newest_nonce", entry.newest},
                   {"fenced_up_to", std::max(entry.fenced.in_force(), entry.replaced.in_force())},
                   {"replaced_up_to", entry.replaced.in_force()}});
  };
  if (!entity.empty() && !instance.empty()) {  // every answer to a fence
    if (const auto found = clients_.find({entity, instance}); found != clients_.end())
      add(found->first, found->second);
  } else {
    for (const auto& [client, entry] : clients_) {
      if (!entity.empty() && client.entity != entity) continue;
      if (instance.empty() || client.instance == instance) add(client, entry);
    }
  }
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lunar::osd
