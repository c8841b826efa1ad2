// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "objecter/counters.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/server_connection.h"

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

// Gets the first map from whichever known address answers, and keeps a subscription with one server
// after that, moving on when it dies.
// Hunting: a connection to one address more every kStagger until one of them gives its map (or says
// that ours is the newest); that one becomes the source, the others are let go. The messenger keeps
// retrying each with its own back-off, so a dead address costs one stagger.
// Loop-bound to its center. Borrows center, table, counters and events; shares connections.
class MapClient {
 public:
  static constexpr std::chrono::milliseconds kStagger{200};
  static constexpr std::chrono::seconds kRotate{3};  // when all that may be open are open
  static constexpr std::chrono::seconds kAskAgain{1};
  static constexpr std::size_t kMaxHunted = 4;

  MapClient(msgr::EventCenter& center, ServerTable& servers, ObjecterCounters& counters,
            MapEvents& events, std::vector<msgr::Address> bootstrap, std::string entity);
  ~MapClient();

  void start() { hunt(); }
  void stop();
  const OsdMapRef& map() const noexcept { return map_; }
  Epoch epoch() const noexcept { return map_ == nullptr ? 0 : map_->epoch; }

  // Somebody has seen this epoch at `server`: gets it from there, if it is newer than ours.
  void want(Epoch epoch, ServerConnection& server);
  // Asks the authority (another, if it does not answer) for anything newer.
  uint64_t ask_newest();

  // A sentence about what was tried, and its code: kAuthFailed if nothing worse than the key is
  // wrong, else kUnreachable.
  Error explain_no_map(std::chrono::nanoseconds waited) const;

  // From the dispatcher.
  // False, with a line in the log, if the server is of another cluster.
  bool accepts(const ServerConnection& server, const ServerHello& hello);
  void on_hello(const ServerRef& server);
  void on_map(const ServerRef& server, ConstBytes front);
  void on_current(const ServerRef& server, Epoch epoch);
  void on_lost(ServerConnection& server);

 private:
  void hunt();
  void hunt_next();
  std::vector<msgr::Address> candidates() const;
  bool is_hunted(const ServerConnection& server) const noexcept;
  void subscribe(ServerConnection& server);
  void settle(const ServerRef& server);
  void send_question();
  void answered(const ServerConnection& server);
  ServerRef authority();

  msgr::EventCenter& center_;
  ServerTable& servers_;
  ObjecterCounters& counters_;
  MapEvents& events_;
  const std::vector<msgr::Address> bootstrap_;
  const std::string entity_;
  OsdMapRef map_;
  bool is_stopped_ = false;

  ServerRef source_;  // whose pushes we get
  msgr::Address lost_source_;
  std::vector<ServerRef> hunted_;
  std::vector<msgr::Address> candidates_;
  std::size_t next_candidate_ = 0;
  msgr::TimerId hunt_timer_ = msgr::TimerId::kNone;
  Epoch wanted_ = 0;

  bool is_asking_ = false;
  bool ask_again_ = false;
  uint64_t asked_ = 0;
  ServerRef asked_server_;
  bool ask_source_ = false;
  msgr::TimerId ask_timer_ = msgr::TimerId::kNone;
  std::string refused_;  // a sentence about a server that was no use
};

}  // namespace lunar::objecter
