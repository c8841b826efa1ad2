// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <vector>

#include "common/task.h"
#include "msgr/event_center.h"
#include "objecter/cluster/server_table.h"

namespace lunar::objecter {

// How fast a MapHunt goes from one server to the next.
struct HuntPace {
  using Pause = msgr::EventCenter::Clock::duration;
  // From one server to the next, while not all are asked. It is shorter where there are many, so
  // that all have been asked within kRound, but no shorter than kMinStagger.
  Pause stagger;
  Pause rotate;           // for which each is asked at least, before another one takes its place
  std::size_t max_asked;  // servers that are asked at the same time; at least 1

  static constexpr std::chrono::seconds kRound{2};
  static constexpr std::chrono::milliseconds kMinStagger{50};
};

// Who hunts. Both are called on the loop, from within start(), drop_source() or a timer.
struct MapSeeker {
  // Where to look, best first. Asked anew for each step, so that a map that came meanwhile counts.
  // Empty: there is nobody yet, and the hunt asks again after HuntPace::stagger.
  virtual std::vector<msgr::Address> candidates() const = 0;
  // It is this server's turn, and it said hello before: ask it again. One that says hello later is
  // asked by the seeker itself, from its Dispatcher. Must not call the hunt.
  virtual void ask(ServerConnection& server) = 0;

 protected:
  ~MapSeeker() = default;
};

// The hunt for a server that answers with a map, and for another when that one dies.
//
// It connects to one candidate more at each step, until the seeker chooses the one that
// answered: this is the source, and all others are let go of. When the source is lost the hunt
// begins anew. The messenger goes on trying each address that is asked, with its own back-off, so a
// dead address costs one stagger; when more than max_asked are tried, the one asked longest goes.
// What is an answer is the seeker's to say; the hunt sends nothing itself.
// Loop-bound to its center. Borrows center, table and seeker, which outlive it; shares connections.
class MapHunt {
 public:
  MapHunt(msgr::EventCenter& center, ServerTable& servers, MapSeeker& seeker, HuntPace pace);
  ~MapHunt();  // as stop()
  MapHunt(const MapHunt&) = delete;
  MapHunt& operator=(const MapHunt&) = delete;

  // Takes the first step, inside the call. Once. Does nothing after stop().
  void start();
  // Lets go of every connection; nothing is asked from then on. May be called twice.
  void stop();

  // The server that answered; null while the hunt is on.
  const ServerRef& source() const noexcept;
  // Who was asked last; null if nobody is being asked, as when there is a source.
  ServerRef last_asked() const noexcept;
  // Whether it is the source, or being asked.
  bool holds(const ServerConnection& server) const noexcept;
  bool holds(const msgr::Connection& connection) const noexcept;

  // `server` answered: it is the source now. Ignored if there is one, or if it is not being asked.
  void choose(const ServerRef& server);
  // The source is gone: lets go of it and asks others at once, from the first candidate on, itself
  // last of all. Without a source it does nothing.
  void drop_source();
  // The source has to answer anew: it is asked as the others are, and has HuntPace::rotate before
  // the next one's turn. Without a source it does nothing.
  void doubt_source();

 private:
  struct State;
  static Detached run(std::shared_ptr<State> hunt);  // the hunt, in the order in which it goes

  const std::shared_ptr<State> state_;  // shared with the coroutine, which ends with stop()
};

}  // namespace lunar::objecter
