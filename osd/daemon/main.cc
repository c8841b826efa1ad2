// SPDX-License-Identifier: LGPL-2.1-or-later
// lunar-osd: an object server. README.md says how to make and start one.
#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "common/program.h"
#include "common/visible_text.h"
#include "osd/daemon/cluster_setup.h"
#include "osd/daemon/daemon.h"
#include "osd/daemon/osd_process.h"

namespace lunar::osd {
namespace {

constexpr char kHelp[] =
    R"(lunar-osd - serve objects of one store

  lunar-osd --mkfs -i N --fsid UUID     make the store of osd.N in a cluster that exists
  lunar-osd --mkfs -i N --mkmap         make a new cluster, with osd.N as its map authority
  lunar-osd -i N                        serve; when "lunar-osd.N ready ADDRESS" is on stderr, the
                                        cluster has it as up. SIGTERM: flush and end. SIGHUP: open
                                        the log file again.

  --mkfs            make the store in osd_data and exit
  --mkmap           with --mkfs, or with osd_objectstore = mem: a new cluster
  -f, --foreground  stay in the foreground (the default)
  --daemonize       go into the background once the server is ready; see also --pid-file
  -h, --help        this text
  -v, --version     the version

Options often needed: --fsid UUID, --osd-data FOLDER, --osd-objectstore file|mem,
--public-addr ADDRESS[:PORT], --mon-host ADDRESS:PORT,..., --keyring FILE.

Exit status: 0 done; 1 wrong arguments or configuration; 2 the store cannot be made or used; 3 the
address or keys cannot be used; 4 the cluster refuses this server.

)";

struct OsdArguments {
  bool mkfs = false;
  bool mkmap = false;
  bool daemonize = false;
  bool help = false;
  bool version = false;
};

Outcome<OsdArguments> read_arguments(const std::vector<std::string>& words) {
  OsdArguments out;
  for (const std::string& word : words) {
    if (word == "--mkfs")
      out.mkfs = true;
    else if (word == "--mkmap")
      out.mkmap = true;
    else if (word == "--daemonize")
      out.daemonize = true;
    else if (word == "-h" || word == "--help")
      out.help = true;
    else if (word == "-v" || word == "--version")
      out.version = true;
    else if (word != "-f" && word != "--foreground")
      return failure(
          std::errc::invalid_argument,
          fmt::format("unknown argument '{}'; lunar-osd --help shows what there is", word));
  }
  return out;
}

int run(int argc, char** argv) {
  Daemon daemon;
  // Forking comes before the first thread, so before the arguments are really read.
  if (std::any_of(argv, argv + argc,
                  [](const char* word) { return std::string(word) == "--daemonize"; })) {
    auto became = Daemon::become_daemon();
    if (!became) return complain(daemon, ExitStatus::kUsage, became.error().message);
    daemon = std::move(*became);
  }
  const sigset_t set = handled_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);

  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto has = [&](const char* word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  ProgramDefaults defaults;
  defaults.name = "lunar-osd";
  defaults.entity_type = "osd";
  defaults.entity_id = "none";  // -i N has to say
  defaults.is_daemon = true;
  defaults.serves_admin_socket =
      !has("--mkfs") && !has("-h") && !has("--help") && !has("-v") && !has("--version");
  auto program = Program::start(argc, argv, defaults);
  if (!program) return complain(daemon, ExitStatus::kUsage, program.error().message);
  const auto arguments = read_arguments((*program)->arguments());
  if (!arguments) return complain(daemon, ExitStatus::kUsage, arguments.error().message);
  if (arguments->help) {
    print_visible(stdout, "%s%s", kHelp, Program::common_help().c_str());
    return 0;
  }
  if (arguments->version) {
    print_visible(stdout, "%s\n", version_line("lunar-osd").c_str());
    return 0;
  }
  if (arguments->mkfs) {
    const auto made = make_osd((*program)->config(), arguments->mkmap);
    if (!made) {
      const bool is_usage = made.error().code == std::errc::invalid_argument;
      return complain(daemon, is_usage ? ExitStatus::kUsage : ExitStatus::kStore,
                      made.error().message);
    }
    print_visible(stdout, "%s\n", made->c_str());
    return 0;
  }
  std::vector<std::string> command(argv, argv + argc);
  std::erase(command, "--daemonize");  // it is in the background already
  return OsdProcess(**program, daemon, arguments->mkmap, std::move(command)).run();
}

}  // namespace
}  // namespace lunar::osd

int main(int argc, char** argv) { return lunar::osd::run(argc, argv); }
