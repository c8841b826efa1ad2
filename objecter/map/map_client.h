// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "objecter/cluster/map_hunt.h"
#include "objecter/cluster/server_table.h"
#include "objecter/map/authority_search.h"
#include "objecter/ops/counters.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::objecter {

// Told what the MapClient learns.
struct MapEvents {
  virtual void on_new_map(OsdMapRef map) = 0;
  // A server was asked after ask_newest() returned this ticket, and had nothing newer than the map
  // that is known by now.
  virtual void on_newest_confirmed(uint64_t ticket) = 0;

 protected:
  ~MapEvents() = default;
};

// The client's copy of the cluster map. Gets the first one from whichever known address answers,
// and keeps a subscription with that server after that, moving on when it dies (MapHunt). A server
// that is being asked becomes the source when it gives its map, or says that ours is the newest.
//
// Where servers prove who they are, the map counts that the authority has sent itself, and no other
// one after it. Until then the map of another server is taken once the authority has had
// kAuthorityGrace to answer, so that clients start while it is away; its word replaces that map,
// whatever the epochs say (AuthoritySearch, docs/protocol-osd.md §6).
// Loop-bound to its center. Borrows center, table, counters and events; shares connections.
class MapClient final : private MapSeeker {
 public:
  static constexpr std::chrono::milliseconds kStagger{200};
  static constexpr std::chrono::seconds kRotate{3};  // for which each is asked
  static constexpr std::chrono::seconds kAskAgain{1};
  static constexpr std::chrono::seconds kAuthorityGrace{1};
  static constexpr std::size_t kMaxHunted = 32;

  // `authority` is who has to be the map authority; none: the first map says.
  MapClient(msgr::EventCenter& center, ServerTable& servers, ObjecterCounters& counters,
            MapEvents& events, std::vector<msgr::Address> bootstrap, std::string entity,
            std::optional<OsdId> authority);
  ~MapClient();

  void start() { hunt_.start(); }
  void stop();
  const OsdMapRef& map() const noexcept { return map_; }
  Epoch epoch() const noexcept { return map_ == nullptr ? 0 : map_->epoch; }

  // Somebody has seen this epoch at `server`: gets it from the authority or, while that is away,
  // from there, if it is newer than ours.
  void want(Epoch epoch, ServerConnection& server);
  // Asks the authority (another, if it does not answer) for anything newer. Returns the ticket that
  // on_newest_confirmed() will name.
  uint64_t ask_newest();

  // A sentence about what was tried, and its code. kUnreachable: it may come yet; kAuthFailed or
  // kFeatureMismatch: a server refuses this client, and will again.
  Error explain_no_map(std::chrono::nanoseconds waited) const;

  // From the dispatcher.
  // False, with a line in the log, if the server is of another cluster.
  bool accepts(const ServerConnection& server, const ServerHello& hello) const;
  void on_hello(const ServerRef& server);
  void on_map(const ServerRef& server, ConstBytes front);
  void on_current(const ServerRef& server, Epoch epoch);
  void on_lost(ServerConnection& server);

 private:
  std::vector<msgr::Address> candidates() const override;
  void ask(ServerConnection& server) override { subscribe(server); }
  void subscribe(ServerConnection& server);
  void choose(const ServerRef& server);
  bool takes(const ServerRef& server, const OsdMap& map);
  void hear(const ServerRef& server, OsdMap map);
  void end_grace();
  void publish(OsdMapRef map);
  void send_question();
  void on_answer(const ServerConnection& server);
  ServerRef authority();

  msgr::EventCenter& center_;
  ServerTable& servers_;
  ObjecterCounters& counters_;
  MapEvents& events_;
  const std::vector<msgr::Address> bootstrap_;
  const std::string entity_;
  OsdMapRef map_;           // null before the first
  bool is_proven_ = false;  // the authority sent map_, or names are only claims; needs map_
  OsdMapRef hearsay_;       // of another server, not taken yet; only while the grace timer runs
  msgr::TimerId grace_timer_ = msgr::TimerId::kNone;  // from the first hearsay on
  bool is_stopped_ = false;
  MapHunt hunt_;                      // its source is the server that we are subscribed with
  AuthoritySearch authority_search_;  // on where servers prove who they are
  Epoch wanted_ = 0;                  // the newest that some server was asked for because it has it
  std::string refused_;               // a sentence about a server that was no use

  // The question for anything newer. One at a time.
  bool is_asking_ = false;
  bool wants_to_ask_again_ = false;  // somebody needs an answer to a later question; is_asking_
  bool is_source_next_ = false;      // the next question goes to the source, not the authority
  uint64_t asked_ = 0;               // ticket of the question, or of the last one
  ServerRef asked_server_;           // null unless is_asking_, and while there is nobody to ask
  msgr::TimerId ask_timer_ = msgr::TimerId::kNone;  // runs while is_asking_
};

}  // namespace lunar::objecter
