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
// A fence is in force from the call that makes it, and until it is durably lifted. What could not
// be recorded is taken back before anything else is recorded: while no change of a fence is being
// written, what is in force is what the last write that succeeded has put into the record.
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
  // Of takeovers, which whoever has any key may ask for, of its own entity's clients.
  static constexpr std::size_t kMaxTakeoversUnderWay = 64;  // clients of an entity

  static Outcome<std::unique_ptr<FenceTable>> load(ServerRecords& records);

  // False for a start of the client that was superseded or fenced.
  bool allows(const ClientName& client, uint64_t nonce) const;
  uint64_t newest_nonce(const ClientName& client) const;
  // True if claim() has made this start the newest one.
  bool is_claimed(const ClientName& client, uint64_t nonce) const;
  // The client has a session from now on, or has none any more. While it has, it is remembered.
  void on_arrived(const ClientName& client) { present_.insert(client); }
  void on_left(const ClientName& client);
  // Makes `nonce` the newest start of the client; lower ones are fenced when done runs. After an
  // error the start is the newest one here, and the next write that succeeds records it.
  void claim(const ClientName& client, uint64_t nonce, StoreDone done);

  // An operator's: every nonce up to `nonce` is fenced from this call on, durably at done. kBusy:
  // there are too many, of the entity or in all. REQUIRES: client.is_valid().
  void fence(const ClientName& client, uint64_t nonce, StoreDone done);
  // Lifts that when done runs without an error.
  void unfence(const ClientName& client, StoreDone done);
  // The same for whoever takes over what the starts up to `nonce` had: nothing lifts it, only a
  // newer start is let in. Such a client counts as one with older starts, and is kept for long.
  // kBusy: those of too many other clients of the entity are being written just now.
  void replace(const ClientName& client, uint64_t nonce, StoreDone done);
  // The newest start that is fenced so; 0 if none.
  uint64_t replaced_up_to(const ClientName& client) const;

  // All clients of an entity, and all that it may ever have, until it is let in again. kBusy if
  // there are kMaxFencedEntities. In force and lifted as the fence of one client is.
  void fence_entity(const std::string& entity, StoreDone done);
  void unfence_entity(const std::string& entity, StoreDone done);
  bool is_entity_fenced(const std::string& entity) const;

  // Runs done when no record is being written; at once if so already.
  void drain(UniqueFunction<void()> done);
  // Of one entity and instance; empty: of all.
  std::string to_json(const std::string& entity = {}, const std::string& instance = {}) const;

 private:
  // The starts up to a nonce are fenced; none if it is 0.
  struct FenceLevel {
    uint64_t wanted = 0;    // what the next write puts into the record
    uint64_t recorded = 0;  // what is in it; the same as `wanted` unless a change is being written
    uint32_t saving = 0;    // changes of this level that are being written, or wait for that
    uint64_t in_force() const noexcept { return wanted > recorded ? wanted : recorded; }
    bool is_in_use() const noexcept { return in_force() != 0 || saving != 0; }
  };
  struct Entry {
    uint64_t newest = 0;
    uint64_t durable = 0;    // newest, as far as it is in the record
    FenceLevel fenced;       // by an operator
    FenceLevel replaced;     // by a takeover
    uint64_t used = 0;       // order in which they were last seen
    bool has_older = false;  // a start below `newest` has been here
  };
  explicit FenceTable(ServerRecords& records);
  bool decode(ConstBytes record);
  std::vector<std::byte> encode() const;
  void set(FenceLevel& level, uint64_t up_to, StoreDone done);
  void evict();

  std::map<ClientName, Entry> clients_;
  std::map<std::string, FenceLevel> fenced_entities_;  // each of all starts, or being lifted
  std::set<ClientName> present_;
  uint64_t clock_ = 0;
  RecordWriter writer_;
};

}  // namespace lunar::osd
