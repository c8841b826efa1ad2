// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/admin_socket.h"
#include "common/config.h"
#include "common/log_config.h"
#include "common/perf_counters.h"
#include "common/result.h"

namespace lunar {

// "0.1.0", and the line that --version prints, which names the program too.
std::string_view version() noexcept;
std::string version_line(std::string_view program);

// What a program wants to be while neither arguments nor configuration say otherwise.
struct ProgramDefaults {
  std::string name;                    // "lunar-osd"
  std::string entity_type = "client";  // who it is without -n and -i
  std::string entity_id = "admin";
  bool serves_admin_socket = false;  // serve one at the option admin_socket
  bool log_to_stderr = true;         // unless the configuration says otherwise
  bool is_daemon = false;            // it holds keys and runs long: not dumpable, SIGPIPE ignored
};

// What every program of ours does first: reads the common arguments (-c/--conf FILE, -i/--id ID,
// -n/--name TYPE.ID, --cluster NAME, --OPTION VALUE or --OPTION=VALUE for any option of the table),
// loads the configuration, opens the log, and keeps keys out of core dumps. Made once, at the start
// of main, before any thread; owns the configuration and the counters, and outlives whatever uses
// them. Thread-safe after that.
class Program {
 public:
  // Takes what it knows out of the arguments; arguments() is the rest, in order. After "--" nothing
  // is taken. A value that an option refuses is an error, whose sentence is to be printed; the exit
  // status is then 1.
  static Outcome<std::unique_ptr<Program>> start(int argc, const char* const* argv,
                                                 ProgramDefaults defaults);
  ~Program();  // flushes the log

  // Loaded, and frozen as soon as start() is over.
  Config& config() noexcept { return *config_; }
  // All counters of the process; the admin socket shows them.
  PerfRegistry& perf() noexcept { return *perf_; }
  // For commands of the program's own; null if none is served.
  AdminSocket* admin_socket() noexcept { return admin_socket_.get(); }
  const std::string& name() const noexcept { return defaults_.name; }
  // What start() did not take: the program's own arguments, without argv[0].
  const std::vector<std::string>& arguments() const noexcept { return arguments_; }

  // Text for --help about the arguments that every program takes.
  static std::string common_help();

 private:
  Program() = default;
  Outcome<void> serve_admin_socket();  // at option admin_socket, unless that is empty

  ProgramDefaults defaults_;
  std::vector<std::string> arguments_;
  std::unique_ptr<Config> config_;  // first made, last destroyed: the others borrow it
  std::unique_ptr<LogConfig> log_;
  std::unique_ptr<PerfRegistry> perf_;
  std::unique_ptr<AdminSocket> admin_socket_;               // null unless it is served
  std::vector<AdminSocket::ServedCommand> admin_commands_;  // of admin_socket_, none without it
};

// A core dump or a debugger of the same user could read keys: PR_SET_DUMPABLE off. Not called in
// tgtd, which is not ours; there the keys' pages are left out of dumps instead (keyring.h).
void forbid_core_dumps() noexcept;

}  // namespace lunar
