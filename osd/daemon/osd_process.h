// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/file.h"
#include "common/program.h"
#include "common/task.h"
#include "msgr/awaiters.h"
#include "msgr/keyring_watch.h"
#include "osd/daemon/daemon.h"
#include "osd/daemon/log_reopener.h"
#include "osd/daemon/service_manager.h"
#include "osd/server/osd_server.h"

namespace lunar::osd {

// How lunar-osd exits: README.md, "The program".
enum class ExitStatus : uint8_t { kDone = 0, kUsage = 1, kStore = 2, kNetwork = 3, kRefused = 4 };

// Says on stderr, in the log and to whoever waits for the daemon why it ends. Returns the status.
int complain(Daemon& daemon, ExitStatus status, const std::string& sentence);

// Those that a server handles, to be blocked before the first thread is made.
sigset_t handled_signals();

// One server, from its start to its end: until it is refused, until SIGTERM or SIGINT, or until its
// PGs were given to others, when the program starts anew in its place.
// Not thread-safe. Borrows program and daemon; owns everything else of the process.
class OsdProcess {
 public:
  // `makes_map`: a store in memory begins with the first map of a new cluster. `command` is that of
  // the program, to start it anew.
  OsdProcess(Program& program, Daemon& daemon, bool makes_map, std::vector<std::string> command)
      : program_(program), daemon_(daemon), makes_map_(makes_map), command_(std::move(command)) {}

  // Blocks until the end. Returns the exit status.
  int run();

 private:
  // Why the process ends; no sentence if somebody asked for it.
  struct OsdExit {
    ExitStatus status = ExitStatus::kDone;
    std::string sentence;
  };

  Outcome<void> set_up();
  Outcome<void> load_keyring();
  Outcome<void> watch_signals();
  void observe_options();
  void on_signal();
  void on_log_reopened(const Outcome<void>& opened);
  void serve_keyring_reload(AdminSocket& socket);
  void reload_keyring(AdminReply reply);
  void announce(const msgr::Address& address);
  void start_anew(const std::string& why);
  Detached start_up();
  Detached end();

  Program& program_;
  Daemon& daemon_;
  const bool makes_map_;
  std::vector<std::string> command_;
  ExitStatus setup_status_ = ExitStatus::kUsage;  // of an error in the present step of set_up()
  ExitStatus status_ = ExitStatus::kDone;
  msgr::Inbox<OsdExit> ends_;  // the first one counts
  msgr::MessengerOptions messenger_;
  OsdServer::Listen listen_;
  // Made by set_up(), in this order.
  std::unique_ptr<msgr::EventCenter> center_;
  std::unique_ptr<msgr::KeyringWatch> keyring_;  // null without authentication
  std::unique_ptr<msgr::NetworkStack> stack_;
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<OsdServer> server_;
  std::optional<ServiceManager> service_manager_;
  std::optional<LogReopener> log_reopener_;
  AdminSocket::ServedCommand keyring_reload_;
  std::vector<Config::Observer> observers_;
  PidFile pid_file_;
  UniqueFd signals_;
  msgr::FdWatch signal_watch_;
};

}  // namespace lunar::osd
