// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_function.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_map.h"
#include "osd/map/map_commands.h"
#include "osd/object_store.h"
#include "osd/records/wire_error.h"
#include "osd/store_fencing.h"

namespace lunar::osd {

// The durable map of a store: what this server last knew, and on the authority the map itself.
inline constexpr char kMapRecord[] = "osdmap";
// kNoSuchObject if the store has none; a sentence if it is damaged or of another version.
Outcome<objecter::OsdMapRef> load_map(const ServerRecords& records);

// The one place where the map of a cluster changes: one change after the other, each durable before
// anybody sees it. A RADOS client leaves the map only when it is fenced: who reads that a server is
// gone, or has another client, knows that the one before writes nothing any more.
// Loop-bound. Borrows records and fencing; destroy it only when it is not busy.
class MapAuthority {
 public:
  // `on_map` is called with each new map, before the call that made it is answered.
  MapAuthority(ServerRecords& records, StoreFencing& fencing, objecter::OsdMapRef map,
               UniqueFunction<void(objecter::OsdMapRef)> on_map);

  const objecter::OsdMapRef& map() const noexcept { return map_; }

  // Whether this boot may change the map; asked when its turn has come, if it would. Empty: yes.
  using MayChange = UniqueFunction<Outcome<void>(const objecter::OsdBoot&)>;
  // What waits for its turn; beyond it the answer is kBusy.
  static constexpr std::size_t kMaxCommands = 256;
  static constexpr std::size_t kMaxWaiting = 8192;

  // Each `done` runs once; at once if nothing has to be written.
  void command(std::string text, UniqueFunction<void(objecter::CommandReply)> done);
  // One boot of each server waits: a later one takes the place of the one before, which is kBusy.
  void boot(objecter::OsdBoot boot, MayChange may_change,
            UniqueFunction<void(objecter::OsdBootReply)> done);
  // A server has the map of this epoch. If ours is older, and was restored, and that server has not
  // come since, it is published again as a later one: else it would never be taken there. An
  // authority whose store was put back to an older state must not do so.
  void on_known_epoch(objecter::OsdId osd, objecter::Epoch epoch);
  // Its session is gone for good; of the start that is up in the map now. An error, with a
  // sentence, if it stays up there: it could not be fenced, or the map not be written.
  void osd_is_down(objecter::OsdId osd, UniqueFunction<void(Outcome<void>)> done);

  bool is_busy() const noexcept { return is_busy_; }
  void drain(UniqueFunction<void()> done);  // REQUIRES: is_busy()
  // Changes that wait for their turn.
  std::size_t waiting() const noexcept { return queue_.size() - (is_busy_ ? 1 : 0); }

 private:
  // What may change the map: one in turn.
  struct MapProposal {
    virtual ~MapProposal() = default;
    // The next map, if there is to be one. Called when its turn has come.
    virtual std::optional<objecter::OsdMap> decide(const objecter::OsdMap& map) = 0;
    virtual void refuse(OsdErrc error, std::string sentence) = 0;
    virtual void answer(objecter::Epoch epoch) = 0;
  };
  struct CommandProposal;
  struct BootProposal;
  struct DownProposal;
  struct LaterEpochProposal;

  template <typename Proposal, typename IsSought>
  Proposal* find_waiting(IsSought is_sought) const;
  bool has_room_for_command() const;
  void catch_up();
  void add(std::unique_ptr<MapProposal> proposal);
  void next();
  void fence_and_publish(objecter::OsdMap map);
  std::string unfenced_client(const objecter::OsdMap& map) const;
  void publish(objecter::OsdMap map);
  void give_up(OsdErrc error, std::string sentence);
  void go_on();

  ServerRecords& records_;
  StoreFencing& fencing_;
  objecter::OsdMapRef map_;
  UniqueFunction<void(objecter::OsdMapRef)> on_map_;
  std::deque<std::unique_ptr<MapProposal>> queue_;
  objecter::OsdMapRef proposed_;
  objecter::Epoch latest_known_ = 0;                         // that a server had
  std::map<objecter::OsdId, objecter::Epoch> known_epochs_;  // the same by server
  bool is_busy_ = false;          // the change of the first of the queue is being made
  std::set<std::string> fenced_;  // RADOS clients of map_, for that change
  UniqueFunction<void()> drained_;
};

}  // namespace lunar::osd
