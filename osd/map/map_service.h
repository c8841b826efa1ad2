// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msgr/messenger.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_map.h"
#include "osd/access/access_control.h"
#include "osd/map/authority_link.h"
#include "osd/map/boot_pace.h"
#include "osd/map/map_authority.h"
#include "osd/map/map_keeper.h"
#include "osd/map/map_subscribers.h"
#include "osd/map/send_front.h"
#include "osd/map/watched_osds.h"
#include "osd/server_records.h"
#include "osd/store_identity.h"

namespace lunar::osd {

// What the map service tells the server. Calls come on its loop.
class MapServiceHost {
 public:
  // A newer map is ours, durably.
  virtual void on_map(const objecter::OsdMapRef& map) = 0;
  // The cluster has us as up; once.
  virtual void on_ready() = 0;
  // The cluster will not have us: the server has to end.
  virtual void on_refused(const Error& error) = 0;
  // The cluster has given our PGs to others, and our store writes no more: the server must answer
  // nobody from now on, and start anew. May be called again.
  virtual void on_set_aside(const std::string& why) = 0;

 protected:
  ~MapServiceHost() = default;
};

// This server in its cluster: its map, changed by the authority (which is us, or at the end of an
// AuthorityLink), and whether it may serve under it. MapKeeper keeps the map, MapSubscribers are
// sent it, and on the authority WatchedOsds says who is up.
// Loop-bound. Borrows records, fencing, access and messenger.
class MapService final : private BootingServer {
 public:
  struct Options {
    StoreIdentity identity;
    uint64_t incarnation = 0;        // of this start, as in OsdBoot
    std::vector<uint64_t> previous;  // starts before it, as in OsdBoot
    std::vector<msgr::Address> bootstrap;
    std::optional<objecter::OsdId> authority;  // by configuration; none: the first map says
    WatchedOsds::Graces graces{std::chrono::seconds(20), std::chrono::seconds(6)};
    AuthorityLink::Pace pace{std::chrono::seconds(1), std::chrono::seconds(1)};
    bool auth_required = true;
  };

  // `map` is the store's, or null.
  MapService(msgr::EventCenter& center, ServerRecords& records, StoreFencing& fencing,
             AccessControl& access, MapServiceHost& host, objecter::OsdMapRef map, Options options);

  const objecter::OsdMapRef& map() const noexcept override { return map_; }
  objecter::Epoch epoch() const noexcept { return map_ ? map_->epoch : 0; }
  bool is_authority() const noexcept { return authority_ != nullptr; }
  // The cluster has accepted this start of this store, and no map since has said otherwise: only
  // then are ops executed.
  bool may_serve() const noexcept { return is_ready_ && !is_refused_; }

  // Boots, telling these addresses.
  void start(msgr::Messenger& messenger, std::vector<msgr::Address> addresses);
  // Tells the cluster that we are going, as far as that is possible. `done` runs later.
  void stop(UniqueFunction<void()> done);

  // A client's or server's messages.
  void subscribe(msgr::Connection& connection, ConstBytes front);
  void boot(msgr::Connection& connection, ConstBytes front);
  void command(std::string text, UniqueFunction<void(objecter::CommandReply)> done);
  void want_newer();
  // The dispatcher's calls, for every connection.
  // Of those that are not our own link to the authority.
  void on_link(msgr::Connection& connection, bool up) { watched_.on_link(connection, up); }
  void on_closed(msgr::Connection& connection, std::error_code why);
  AuthorityLink* link() noexcept { return link_.get(); }

 private:
  objecter::OsdBoot make_boot() override;
  void on_newer_map(objecter::OsdMap map) override;
  void on_booted(objecter::Epoch epoch) override;
  void on_refused(objecter::OsdErrc error, std::string sentence) override;

  void publish(objecter::OsdMapRef map);
  void ready_if_up();
  Outcome<void> may_boot(const msgr::Connection& connection, const objecter::OsdBoot& boot) const;
  Outcome<void> may_replace(const objecter::OsdBoot& boot) const;
  Outcome<void> may_change_map(const objecter::OsdBoot& boot);
  std::string why_replaced() const;
  bool is_set_aside() const;
  bool is_up_as_we_are() const;
  void on_down(OsdId osd);
  objecter::CommandReply with_unfenced(objecter::CommandReply status) const;

  msgr::EventCenter& center_;
  StoreFencing& fencing_;
  MapServiceHost& host_;
  const Options options_;
  objecter::OsdMapRef map_;
  std::vector<msgr::Address> addresses_;
  MapSubscribers subscribers_;
  std::unique_ptr<MapAuthority> authority_;  // on the authority, else null
  WatchedOsds watched_;                      // on the authority, else empty
  BootPace pace_;                            // on the authority, of the others
  std::unique_ptr<AuthorityLink> link_;      // on the others, once started
  MapKeeper keeper_;                         // on the others
  objecter::Epoch booted_epoch_ = 0;         // of on_booted(); 0 before
  bool is_ready_ = false;                    // on_ready() was called
  bool is_refused_ = false;                  // on_refused() was called; for good
  bool is_stopping_ = false;
  // Servers that are gone and have to stay up in the map, and why. On the authority.
  std::map<OsdId, std::string> unfenced_;
  UniqueFunction<void()> stopped_;  // set only from stop() until it is called
};

}  // namespace lunar::osd
