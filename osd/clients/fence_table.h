// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/result.h"
#include "osd/records/client_name.h"
#include "osd/records/record_writer.h"
#include "osd/records/wire_error.h"
#include "osd/server_records.h"

namespace lunar::osd {

// Remembers durably which starts of a client may write no more: a nonce below the newest that ever
// wrote here, and what an operator fenced. So a gateway that hung while its successor took over
// stays out, also after this server restarted.
// Loop-bound. Borrows the records, which outlive it; destroy it only after drain().
class FenceTable {
 public:
  // The most that are kept, beside those that are present or fenced by an operator: the longest
  // unseen go first, and of them those of which no older start was ever seen here; but always of
  // the entity that has most, so that none can make another's be forgotten.
  static constexpr std::size_t kMaxClients = 1024;
  // Of commands. They are kept until they are lifted, so more are refused.
  static constexpr std::size_t kMaxFences = 8192;
  static constexpr std::size_t kMaxFencesOfEntity = 256;
  static constexpr std::size_t kMaxFencedEntities = 1024;

  static Outcome<std::unique_ptr<FenceTable>> load(ServerRecords& records);

  // False for a start of the client that was superseded or fenced.
  bool allows(const ClientName& client, uint64_t nonce) const;
  uint64_t newest_nonce(const ClientName& client) const;
  // True if claim() has made this start the newest one.
  bool is_claimed(const ClientName& client, uint64_t nonce) const;
  // The client has a session from now on, or has none any more. While it has, it is remembered.
  void on_arrived(const ClientName& client) { present_.insert(client); }
  void on_left(const ClientName& client);
  // Makes `nonce` the newest start of the client; lower ones are fenced when done runs.
  void claim(const ClientName& client, uint64_t nonce, StoreDone done);

  // An operator's: every nonce up to `nonce` is fenced from this call on, durably at done. kBusy:
  // there are too many, of the entity or in all. REQUIRES: client.is_valid().
  void fence(const ClientName& client, uint64_t nonce, StoreDone done);
  void unfence(const ClientName& client, StoreDone done);
  // The same for whoever takes over what the starts up to `nonce` had: nothing lifts it, only a
  // newer start is let in. Such a client counts as one with older starts, so no bound refuses it.
  void replace(const ClientName& client, uint64_t nonce, StoreDone done);
  // The newest start that is fenced so; 0 if none.
  uint64_t replaced_up_to(const ClientName& client) const;

  // All clients of an entity, and all that it may ever have, until it is let in again. kBusy if
  // there are kMaxFencedEntities. What could not be recorded is undone.
  void fence_entity(const std::string& entity, StoreDone done);
  void unfence_entity(const std::string& entity, StoreDone done);
  bool is_entity_fenced(const std::string& entity) const {
    return fenced_entities_.contains(entity);
  }

  // Runs done when no record is being written; at once if so already.
  void drain(UniqueFunction<void()> done);
  // Of one entity and instance; empty: of all.
  std::string to_json(const std::string& entity = {}, const std::string& instance = {}) const;

 private:
  struct Entry {
    uint64_t newest = 0;
    uint64_t durable = 0;         // newest, as far as it is in the record
    uint64_t fenced_up_to = 0;    // by an operator
    uint64_t replaced_up_to = 0;  // by a takeover
    uint64_t used = 0;            // order in which they were last seen
    bool has_older = false;       // a start below `newest` has been here
  };
  explicit FenceTable(ServerRecords& records);
  bool decode(ConstBytes record);
  std::vector<std::byte> encode() const;
  void evict();

  std::map<ClientName, Entry> clients_;
  std::set<std::string> fenced_entities_;
  std::set<ClientName> present_;
  uint64_t clock_ = 0;
  RecordWriter writer_;
};

}  // namespace lunar::osd
