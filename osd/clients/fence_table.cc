// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/clients/fence_table.h"

#include <algorithm>
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
static_assert(kMaxEntityBytes <= kMaxNameBytes && kMaxInstanceBytes <= kMaxNameBytes,
              "what gets into a record has to come out again");
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
         (nonce >= found->second.newest && nonce > found->second.fenced_up_to &&
          nonce > found->second.replaced_up_to);
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
    const bool is_kept =
        at->second.fenced_up_to != 0 || at->second.used == clock_ || present_.contains(at->first);
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

void FenceTable::fence(const ClientName& client, uint64_t nonce, StoreDone done) {
  LUNAR_CHECK(client.is_valid(), "a fence of a name that no record holds");
  std::size_t all = 0;
  std::size_t of_entity = 0;
  for (const auto& [name, entry] : clients_) {
    if (entry.fenced_up_to == 0 || name == client) continue;
    ++all;
    if (name.entity == client.entity) ++of_entity;
  }
  const bool has_room = all < kMaxFences && of_entity < kMaxFencesOfEntity;
  const bool is_anything = nonce != 0;  // no start of it was ever here
  if (has_room && is_anything) {
    Entry& entry = clients_[client];
    entry.fenced_up_to = std::max(entry.fenced_up_to, nonce);
  }
  writer_.save([has_room, done = std::move(done)](std::error_code error) mutable {
    done(error || has_room ? error : make_error_code(objecter::OsdErrc::kBusy));
  });
}

void FenceTable::unfence(const ClientName& client, StoreDone done) {
  const auto found = clients_.find(client);
  if (found != clients_.end()) found->second.fenced_up_to = 0;
  writer_.save(std::move(done));
}

void FenceTable::fence_entity(const std::string& entity, StoreDone done) {
  LUNAR_CHECK(is_entity_text(entity), "a fence of a name that no record holds");
  const bool has_room = is_entity_fenced(entity) || fenced_entities_.size() < kMaxFencedEntities;
  const bool is_new = has_room && fenced_entities_.insert(entity).second;
  writer_.save([this, entity, has_room, is_new, done = std::move(done)](std::error_code e) mutable {
    if (e && is_new) fenced_entities_.erase(entity);
    done(e || has_room ? e : make_error_code(objecter::OsdErrc::kBusy));
  });
}

void FenceTable::unfence_entity(const std::string& entity, StoreDone done) {
  const bool was_fenced = fenced_entities_.erase(entity) != 0;
  writer_.save([this, entity, was_fenced, done = std::move(done)](std::error_code error) mutable {
    if (error && was_fenced) fenced_entities_.insert(entity);
    done(error);
  });
}

void FenceTable::replace(const ClientName& client, uint64_t nonce, StoreDone done) {
  LUNAR_CHECK(client.is_valid(), "a fence of a name that no record holds");
  Entry& entry = clients_[client];
  entry.replaced_up_to = std::max(entry.replaced_up_to, nonce);
  entry.has_older = true;  // it may come back
  entry.used = ++clock_;
  evict();
  writer_.save(std::move(done));
}

uint64_t FenceTable::replaced_up_to(const ClientName& client) const {
  const auto found = clients_.find(client);
  return found == clients_.end() ? 0 : found->second.replaced_up_to;
}

void FenceTable::drain(UniqueFunction<void()> done) {
  if (!writer_.is_busy()) return done();
  writer_.save([this, done = std::move(done)](std::error_code) mutable { drain(std::move(done)); });
}

std::vector<std::byte> FenceTable::encode() const {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  // As long as there is none, builds that know no fences of entities can read it.
  const bool has_entities = !fenced_entities_.empty();
  writer.put(has_entities ? kRecordVersion : kRecordWithoutEntities);
  writer.put(static_cast<uint32_t>(clients_.size()));
  for (const auto& [client, entry] : clients_) {
    writer.put_string(client.entity);
    writer.put_string(client.instance);
    writer.put(entry.newest);
    writer.put(entry.fenced_up_to);
    writer.put(entry.used);
    writer.put(entry.has_older);
    writer.put(entry.replaced_up_to);
  }
  if (!has_entities) return out;
  writer.put(static_cast<uint32_t>(fenced_entities_.size()));
  for (const std::string& entity : fenced_entities_) writer.put_string(entity);
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
    entry.fenced_up_to = reader.get<uint64_t>();
    entry.used = reader.get<uint64_t>();
    entry.has_older = version == kRecordWithoutOlder || reader.get<bool>();
    // A fence that may be a takeover's is taken for one: lifting that would harm the image.
    entry.replaced_up_to =
        version <= kRecordWithoutReplaced ? entry.fenced_up_to : reader.get<uint64_t>();
    clock_ = std::max(clock_, entry.used);
    clients_.emplace(std::move(client), entry);
  }
  if (version > kRecordWithoutEntities) {
    const auto entities = reader.get<uint32_t>();
    if (!reader.can_hold(entities, 4)) return false;
    for (uint32_t i = 0; i < entities && reader.ok(); ++i)
      fenced_entities_.insert(reader.get_string(kMaxNameBytes));
  }
  return reader.is_finished();
}

std::string FenceTable::to_json(const std::string& entity, const std::string& instance) const {
  using Json = nlohmann::ordered_json;
  Json out = Json::array();
  for (const std::string& each : fenced_entities_) {
    if (!entity.empty() && each != entity) continue;
    out.push_back({{"entity", each}, {"all", true}});
  }
  for (const auto& [client, entry] : clients_) {
    if (!entity.empty() && client.entity != entity) continue;
    if (!instance.empty() && client.instance != instance) continue;
    out.push_back({{"entity", client.entity},
                   {"instance", client.instance},
                   {"newest_nonce", entry.newest},
                   {"fenced_up_to", std::max(entry.fenced_up_to, entry.replaced_up_to)},
                   {"replaced_up_to", entry.replaced_up_to}});
  }
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lunar::osd
