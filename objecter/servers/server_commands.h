// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <unordered_map>

#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"
#include "msgr/message.h"
#include "objecter/cluster/server_connection.h"
#include "objecter/ops/counters.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::objecter {

// What commands need from the rest of the Objecter.
struct CommandServers {
  // The connection to talk to this OSD on. REQUIRES: it has an address.
  virtual ServerRef server_for(const OsdInfo& osd) = 0;
  // `server` has this epoch: get it.
  virtual void want_map(Epoch epoch, ServerConnection& server) = 0;
  // What somebody who waited so long without a map is told.
  virtual Error explain_no_map(std::chrono::nanoseconds waited) const = 0;

 protected:
  ~CommandServers() = default;
};

// JSON commands to the map authority or to one OSD, each from run() until its answer. A command is
// sent once and never again: no server remembers the answers, so after a lost connection nobody
// knows whether it was executed. An answer that names a newer map is passed on when that map is
// there, so that who asked sees what was changed.
// Loop-bound. Borrows all it is given; owns the commands.
class ServerCommands {
 public:
  // A sentence for a person on failure. Runs exactly once, never inside run().
  using CommandDone = UniqueFunction<void(Outcome<std::string>)>;

  ServerCommands(msgr::EventCenter& center, ObjecterCounters& counters, CommandServers& servers);

  // To the OSD, or to the map authority if `osd` is negative. `tid` is of no other command or op.
  void run(Tid tid, OsdId osd, std::string json, std::chrono::nanoseconds timeout,
           CommandDone done);

  void on_new_map(OsdMapRef map);
  void on_hello(const ServerRef& server);
  // The session with the server, or the try to begin one, is over.
  void on_reset(const ServerConnection& server, std::error_code why);
  void on_reply(const ServerRef& server, const msgr::InMessage& message);
  // Every command ends with kShutdown, and those that come later too.
  void shut_down();

  // Calls fn(tid, osd, was_sent) for each without an answer.
  template <typename Fn>
  void for_each(Fn&& fn) const {
    for (const auto& [tid, command] : commands_) fn(tid, command.osd, command.was_sent);
  }

 private:
  struct SentCommand {
    OsdId osd = -1;  // negative: the authority
    std::string json;
    std::chrono::nanoseconds timeout{0};
    CommandDone done;
    msgr::TimerId timer = msgr::TimerId::kNone;  // runs until it is over
    ServerRef server;                            // null until there is a map
    bool was_sent = false;                       // on `server`; for good
    std::optional<std::string> answer;           // only while it waits for map `epoch`
    Epoch epoch = 0;
  };

  void place(Tid tid);
  bool may_send(const SentCommand& command) const;
  void send(Tid tid, SentCommand& command);
  void lose(Tid tid, std::error_code why);
  void time_out(Tid tid);
  void finish(Tid tid, Outcome<std::string> result);
  std::string describe_target(const SentCommand& command) const;
  Epoch epoch() const noexcept { return map_ == nullptr ? 0 : map_->epoch; }

  msgr::EventCenter& center_;
  ObjecterCounters& counters_;
  CommandServers& servers_;
  OsdMapRef map_;  // null before the first
  std::unordered_map<Tid, SentCommand> commands_;
  bool is_shut_down_ = false;
};

}  // namespace lunar::objecter
