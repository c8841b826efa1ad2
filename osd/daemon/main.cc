// SPDX-License-Identifier: LGPL-2.1-or-later
// lunar-osd: an object server. README.md says how to make and start one.
#include <fmt/core.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/file.h"
#include "common/keyring.h"
#include "common/log.h"
#include "common/program.h"
#include "osd/daemon/cluster_setup.h"
#include "osd/daemon/daemon.h"
#include "osd/server/osd_server.h"

namespace lunar::osd {
namespace {

// Exit statuses, in README.md.
enum Status : int { kOk = 0, kUsage = 1, kStore = 2, kNetwork = 3, kRefused = 4, kEnded = 5 };

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
address or keys cannot be used; 4 the cluster refuses this server; 5 it ended by an error later.

)";

struct Arguments {
  bool mkfs = false;
  bool mkmap = false;
  bool daemonize = false;
  bool help = false;
  bool version = false;
};

Outcome<Arguments> read_arguments(const std::vector<std::string>& words) {
  Arguments out;
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

int complain(Daemon& daemon, int status, const std::string& sentence) {
  fmt::print(stderr, "lunar-osd: {}\n", sentence);
  LUNAR_LOG(kOsd, 5, "exit {}: {}", status, sentence);
  log_flush();
  daemon.failed(status);
  return status;
}

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

// One server, from its start to its end.
class Process {
 public:
  Process(Program& program, Daemon& daemon, bool make_map)
      : program_(program), daemon_(daemon), make_map_(make_map) {}

  int run() {
    if (const auto made = set_up(); !made)
      return complain(daemon_, setup_status_, made.error().message);
    server_->start(*stack_, std::move(messenger_), keyring_ ? &*keyring_ : nullptr,
                   std::move(listen_), [this](Outcome<msgr::Address> ready) { started(ready); });
    center_->run();
    observers_.clear();
    server_.reset();
    store_.reset();
    return status_;
  }

 private:
  Outcome<void> set_up() {
    Config& config = program_.config();
    const auto id = osd_id_from(config);
    if (!id) return tl::unexpected<Error>(id.error());
    auto options = OsdServerOptions::from_config(config);
    if (!options) return tl::unexpected<Error>(options.error());
    auto messenger = msgr::MessengerOptions::from_config(config);
    if (!messenger) return tl::unexpected<Error>(messenger.error());
    messenger_ = std::move(*messenger);
    messenger_.instance = config.name().to_string();
    auto listen = listen_from(config);
    if (!listen) return tl::unexpected<Error>(listen.error());
    listen_ = std::move(*listen);
    if (options->auth_required) {
      setup_status_ = kNetwork;
      auto keyring = Keyring::load(config.get_string("keyring"));
      if (!keyring) return tl::unexpected<Error>(keyring.error());
      keyring_ = std::move(*keyring);
    }
    auto center = msgr::EventCenter::create({.name = "lunar-osd"});
    if (!center) return failure(center.error(), "cannot make an event loop");
    center_ = std::move(*center);
    setup_status_ = kNetwork;
    auto stack = msgr::make_network_stack(config, &program_.perf());
    if (!stack) return tl::unexpected<Error>(stack.error());
    stack_ = std::move(*stack);
    setup_status_ = kStore;
    auto store = open_store(*center_, stack_->buffers(), config, program_.perf(), make_map_);
    if (!store) return tl::unexpected<Error>(store.error());
    store_ = std::move(*store);
    auto server = OsdServer::create(*center_, *store_, std::move(*options), program_.perf());
    if (!server) return tl::unexpected<Error>(server.error());
    server_ = std::move(*server);
    server_->set_on_refused([this](const Error& error) { end(kRefused, error.message); });
    for (const char* name :
         {"osd_op_history_size", "osd_op_history_duration", "osd_op_complaint_time"}) {
      observers_.push_back(config.observe(name, [this](const Config& changed) {
        const OpTracker::Options tracking{changed.get_uint("osd_op_history_size"),
                                          changed.get_duration("osd_op_history_duration"),
                                          changed.get_duration("osd_op_complaint_time")};
        center_->post([this, tracking] { server_->set_tracking(tracking); });
      }));
    }
    config.freeze();
    return watch_signals();
  }

  Outcome<void> watch_signals() {
    setup_status_ = kUsage;
    auto pid_file = PidFile::create(program_.config().get_string("pid_file"));
    if (!pid_file) return tl::unexpected<Error>(pid_file.error());
    pid_file_ = std::move(*pid_file);
    const sigset_t set = handled_signals();
    signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    auto watch = center_->watch(signals_.get(), msgr::FdEvents::kRead,
                                [this](msgr::FdEvents) { on_signal(); });
    if (!watch)
      return failure(watch.error(), "cannot wait for signals: " + watch.error().message());
    signal_watch_ = std::move(*watch);
    return {};
  }

  void on_signal() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo == SIGHUP) {
        if (const auto reopened = log_reopen(); !reopened)
          LUNAR_ERROR(kOsd, "{}", reopened.error().message);
      } else {
        end(kOk, "");
      }
    }
  }

  void started(const Outcome<msgr::Address>& ready) {
    if (!ready) {
      const bool ours = ready.error().code.category() == objecter::osd_category();
      const bool disk = ready.error().code == objecter::OsdErrc::kCorrupt ||
                        ready.error().code == objecter::OsdErrc::kIoError ||
                        ready.error().code == objecter::OsdErrc::kNoSpace;
      return end(disk ? kStore : ours ? kRefused : kNetwork, ready.error().message);
    }
    const std::string line =
        fmt::format("lunar-osd.{} ready {}", store_->identity().osd, ready->to_string());
    LUNAR_LOG(kOsd, 1, "{}", line);
    if (AdminSocket* socket = program_.admin_socket(); socket != nullptr)
      server_->add_admin_commands(*socket);
    fmt::print(stderr, "{}\n", line);
    std::fflush(stderr);
    daemon_.started();
  }

  void end(int status, const std::string& sentence) {
    if (ending_) return;
    ending_ = true;
    status_ = status;
    if (!sentence.empty())
      complain(daemon_, status, sentence);
    else
      LUNAR_LOG(kOsd, 1, "ending");
    center_->post(
        [this] { server_->shutdown([this] { store_->shutdown([this] { center_->stop(); }); }); });
  }

  Program& program_;
  Daemon& daemon_;
  const bool make_map_;
  int setup_status_ = kUsage;
  int status_ = kOk;
  bool ending_ = false;
  msgr::MessengerOptions messenger_;
  OsdServer::Listen listen_;
  std::optional<Keyring> keyring_;
  std::unique_ptr<msgr::EventCenter> center_;
  std::unique_ptr<msgr::NetworkStack> stack_;
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<OsdServer> server_;
  std::vector<Config::Observer> observers_;
  PidFile pid_file_;
  UniqueFd signals_;
  msgr::FdWatch signal_watch_;
};

int run(int argc, char** argv) {
  Daemon daemon;
  // Forking comes before the first thread, so before the arguments are really read.
  if (std::any_of(argv, argv + argc,
                  [](const char* word) { return std::string(word) == "--daemonize"; })) {
    auto became = Daemon::become_daemon();
    if (!became) return complain(daemon, kUsage, became.error().message);
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
  if (!program) return complain(daemon, kUsage, program.error().message);
  const auto arguments = read_arguments((*program)->arguments());
  if (!arguments) return complain(daemon, kUsage, arguments.error().message);
  if (arguments->help) {
    fmt::print("{}{}", kHelp, Program::common_help());
    return kOk;
  }
  if (arguments->version) {
    fmt::print("{}\n", version_line("lunar-osd"));
    return kOk;
  }
  if (arguments->mkfs) {
    const auto made = make_osd((*program)->config(), arguments->mkmap);
    if (!made) {
      const bool usage = made.error().code == std::errc::invalid_argument;
      return complain(daemon, usage ? kUsage : kStore, made.error().message);
    }
    fmt::print("{}\n", *made);
    return kOk;
  }
  return Process(**program, daemon, arguments->mkmap).run();
}

}  // namespace
}  // namespace lunar::osd

int main(int argc, char** argv) { return lunar::osd::run(argc, argv); }
