// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msgr/messenger.h"
#include "objecter/cluster/map_hunt.h"
#include "objecter/cluster/server_table.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/osd_op.h"

namespace lunar::osd {

// The server that boots: what the link needs to know of it, and what it tells it.
struct BootingServer {
  virtual objecter::OsdBoot make_boot() = 0;
  virtual const objecter::OsdMapRef& map() const noexcept = 0;  // null before the first
  virtual void on_newer_map(objecter::OsdMap map) = 0;
  // The authority has us as up in its map of this epoch.
  virtual void on_booted(objecter::Epoch epoch) = 0;
  // The authority will never have us, and why.
  virtual void on_refused(objecter::OsdErrc error, std::string sentence) = 0;

 protected:
  ~BootingServer() = default;
};

// The boot without what an authority of an earlier release would refuse. Pure.
objecter::OsdBoot boot_for(const msgr::PeerIdentity& authority, objecter::OsdBoot boot);

// The way of a server that is not the authority to it: finds it by any server of the cluster, boots
// with it, and takes its maps. Several are asked at a time (MapHunt), each by one of its addresses
// only; the one that lets us boot is the source, and is sent heartbeats. Each new session with it
// is booted anew. With authentication the map of any other server says no more than where the
// authority may be: by a map that anybody may make up, a server would give up its pools.
// Loop-bound. Borrows the messenger and the booting server; owns the connection.
class AuthorityLink final : private objecter::MapSeeker {
 public:
  // Where a server without a map begins.
  struct Places {
    std::vector<msgr::Address> bootstrap;      // any servers of the cluster
    std::optional<objecter::OsdId> authority;  // by configuration; none: the first map says
  };
  struct Pace {
    std::chrono::nanoseconds retry;      // to find the authority
    std::chrono::nanoseconds heartbeat;  // to the authority, once we have booted
  };
  AuthorityLink(msgr::EventCenter& center, msgr::Messenger& messenger, BootingServer& us,
                Places places, Pace pace);
  ~AuthorityLink();

  void start();
  void stop();
  bool is_booted() const noexcept { return hunt_.source() != nullptr; }
  bool owns(const msgr::Connection& connection) const noexcept { return hunt_.holds(connection); }
  // Asks for a newer map than the one we have.
  void want_map();
  // Our entry of the map is not what it should be.
  void boot_again();

  // The dispatcher's calls. REQUIRES: owns(connection).
  void on_open(msgr::Connection& connection);
  void on_message(msgr::Connection& connection, const msgr::InMessage& message);
  void on_link(msgr::Connection& connection, bool is_up);
  void on_reset(msgr::Connection& connection, std::error_code why);

 private:
  std::vector<msgr::Address> candidates() const override;
  void ask(objecter::ServerConnection& server) override { send_boot(server); }
  void on_hello(objecter::ServerConnection& server, ConstBytes front);
  void on_map(objecter::ServerConnection& server, ConstBytes front);
  void on_current(objecter::ServerConnection& server, ConstBytes front);
  void on_boot_reply(const objecter::ServerRef& server, ConstBytes front);
  void send_boot(objecter::ServerConnection& server);
  bool is_told_elsewhere(const objecter::ServerConnection& server) const;
  std::optional<objecter::OsdId> known_authority() const;
  bool may_decide(const objecter::ServerConnection& server) const;
  bool is_of_authority(const objecter::ServerConnection& server, const objecter::OsdMap& map) const;
  bool is_successor(const objecter::OsdMap& map) const;
  void complain(std::string problem);
  void subscribe(objecter::ServerConnection& server);
  void send_heartbeats();

  msgr::EventCenter& center_;
  BootingServer& us_;
  const Places places_;
  const Pace pace_;
  msgr::TimerId heartbeat_ = msgr::TimerId::kNone;  // runs from start() to stop()
  objecter::ServerTable servers_;
  objecter::MapHunt hunt_;
  // Where our boot is that an OSD has not answered.
  std::map<objecter::OsdId, std::weak_ptr<objecter::ServerConnection>> told_;
  // The newest map that a server has sent which has not proven to be the authority; null if none
  // has. Read for nothing but the authority's addresses.
  objecter::OsdMapRef hearsay_;
  bool has_named_later_ = false;  // an epoch that is later than ours: on_current()
  std::string last_problem_;      // said in the log once, not at every try
};

}  // namespace lunar::osd
