// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "common/unique_function.h"
#include "objecter/cluster/map_hunt.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::objecter {

// A client's search for the map authority, whose word counts for maps where servers have to prove
// who they are. It looks at the addresses that the newest map gives the authority, and at those of
// mon_host, which no map can change; what is found there is the authority if it has proven to be.
// Loop-bound to its center. Borrows center and table; shares connections.
class AuthoritySearch final : private MapSeeker {
 public:
  using Ask = UniqueFunction<void(ServerConnection& server)>;
  static constexpr std::chrono::milliseconds kStagger{200};
  static constexpr std::chrono::seconds kRotate{3};  // for which each is asked
  static constexpr std::size_t kMaxAsked = 32;

  // `named` is the authority by configuration; none: whoever the first map names. `ask` is called
  // with each server that said hello before, when it is its turn.
  AuthoritySearch(msgr::EventCenter& center, ServerTable& servers,
                  std::vector<msgr::Address> bootstrap, std::optional<OsdId> named, Ask ask);

  // From now on the authority is the one of this map, which it has sent itself or, as long as it
  // has sent none, another server. Begins to search, unless that is on already.
  void follow(OsdMapRef map, bool is_proven);
  // A newer map of another server, whose word counts only for where to look: the authority may have
  // moved.
  void hear(OsdMapRef map) { hearsay_ = std::move(map); }
  bool is_on() const noexcept { return is_on_; }
  void stop() { hunt_.stop(); }

  // Whether the server has proven to be the authority. `map` is what it sent: before any proven map
  // it names the authority, if configuration does not.
  bool is_authority(const ServerConnection& server, const OsdMap& map) const;
  // False if configuration names another authority than this map, and none is proven yet.
  bool may_be_ours(const OsdMap& map) const;

  // The authority, once it has answered; null while it is away.
  const ServerRef& found() const noexcept { return hunt_.source(); }
  bool holds(const ServerConnection& server) const noexcept { return hunt_.holds(server); }
  // The authority has answered. Ignored if it is not being asked.
  void on_answer(const ServerRef& server) { hunt_.choose(server); }
  // Its link or session is lost: it is asked again, and so are the others after kRotate.
  void on_lost(const ServerConnection& server);

 private:
  std::vector<msgr::Address> candidates() const override;
  void ask(ServerConnection& server) override { ask_(server); }
  OsdId authority_by(const OsdMap& map) const;

  const std::vector<msgr::Address> bootstrap_;
  const std::optional<OsdId> named_;
  Ask ask_;
  OsdMapRef map_;           // null before follow()
  OsdMapRef hearsay_;       // null if nobody has told of a newer one
  bool is_proven_ = false;  // map_ is the authority's
  bool is_on_ = false;      // has a map
  MapHunt hunt_;            // its source is the authority
};

}  // namespace lunar::objecter
