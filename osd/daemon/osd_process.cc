// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/daemon/osd_process.h"

#include <fmt/core.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string_view>
#include <utility>

#include "common/log.h"
#include "common/visible_text.h"
#include "osd/daemon/cluster_setup.h"

// start_up() and end() are coroutines on the process's loop, which run() leaves only when end() has
// stopped it.

namespace lunar::osd {
namespace {

ExitStatus status_of(std::error_code error) {
  using objecter::OsdErrc;
  if (error == OsdErrc::kCorrupt || error == OsdErrc::kIoError || error == OsdErrc::kNoSpace)
    return ExitStatus::kStore;
  const bool is_ours = error.category() == objecter::osd_category();
  return is_ours ? ExitStatus::kRefused : ExitStatus::kNetwork;
}

constexpr char kOwnProgram[] = "/proc/self/exe";

// Where the program is, or was.
std::string program_path() {
  constexpr std::string_view kDeleted = " (deleted)";
  std::error_code none;
  std::string path = std::filesystem::read_symlink(kOwnProgram, none).string();
  if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
  return path;
}

// What keeps the objects has not answered, and may do so later.
bool is_silence(std::error_code error) {
  return error == std::errc::host_unreachable || error == std::errc::timed_out;
}

}  // namespace

int complain(Daemon& daemon, ExitStatus status, const std::string& sentence) {
  print_visible(stderr, "lunar-osd: %s\n", sentence.c_str());
  LUNAR_LOG(kOsd, 5, "exit {}: {}", static_cast<int>(status), sentence);
  log_flush();
  daemon.failed(static_cast<int>(status));
  return static_cast<int>(status);
}

sigset_t handled_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

int OsdProcess::run() {
  if (const auto made = set_up(); !made)
    return complain(daemon_, setup_status_, made.error().message);
  end();
  start_up();
  center_->run();
  observers_.clear();
  server_.reset();
  store_.reset();
  return static_cast<int>(status_);
}

// --- what there has to be before the loop runs ---

Outcome<void> OsdProcess::set_up() {
  Config& config = program_.config();
  const auto id = osd_id_from(config);
  if (!id) return failure(id.error());
  auto options = OsdServerOptions::from_config(config);
  if (!options) return failure(options.error());
  auto messenger = msgr::MessengerOptions::from_config(config);
  if (!messenger) return failure(messenger.error());
  messenger_ = std::move(*messenger);
  messenger_.instance = config.name().to_string();
  auto listen = listen_from(config);
  if (!listen) return failure(listen.error());
  listen_ = std::move(*listen);
  const std::chrono::microseconds busy_poll(config.get_uint("ms_busy_poll_us"));
  auto center = msgr::EventCenter::create({.name = "lunar-osd", .busy_poll = busy_poll});
  if (!center) return failure(center.error(), "cannot make an event loop");
  center_ = std::move(*center);
  service_manager_.emplace(*center_);
  log_reopener_.emplace(*center_);
  setup_status_ = ExitStatus::kNetwork;
  if (options->auth_required) {
    if (const auto loaded = load_keyring(); !loaded) return loaded;
  }
  auto stack = msgr::make_network_stack(config, &program_.perf());
  if (!stack) return failure(stack.error());
  stack_ = std::move(*stack);
  setup_status_ = ExitStatus::kStore;
  auto store = open_store(*center_, stack_->buffers(), config, program_.perf(), makes_map_);
  if (!store) {
    if (is_silence(store.error().code)) setup_status_ = ExitStatus::kNetwork;
    return failure(store.error());
  }
  store_ = std::move(*store);
  auto server = OsdServer::create(*center_, *store_, std::move(*options), program_.perf());
  if (!server) return failure(server.error());
  server_ = std::move(*server);
  server_->set_on_refused([this](const Error& error) {
    ends_.push({ExitStatus::kRefused, error.message});
  });
  server_->set_on_set_aside([this](const std::string& why) { start_anew(why); });
  observe_options();
  config.freeze();
  if (keyring_) {
    keyring_->start(config.get_duration("keyring_check_interval"),
                    [this] { server_->on_keys_changed(); });
  }
  return watch_signals();
}

// One that is somebody else's would do until this server is to prove who it is.
Outcome<void> OsdProcess::load_keyring() {
  const Config& config = program_.config();
  const std::string path = config.get_string("keyring");
  auto keyring = msgr::KeyringWatch::load(*center_, path, config.name());
  if (!keyring) return failure(keyring.error());
  keyring_ = std::move(*keyring);
  if (keyring_->keyring().find(config.name()) != nullptr) return {};
  return failure(std::errc::permission_denied,
                 fmt::format("keyring {} has no key of {} itself: make one with lunar keyring add, "
                             "or lunar keyring derive --for {}",
                             path, config.name().to_string(), config.name().to_string()));
}

void OsdProcess::observe_options() {
  for (const char* name :
       {"osd_op_history_size", "osd_op_history_duration", "osd_op_complaint_time"}) {
    observers_.push_back(program_.config().observe(name, [this](const Config& changed) {
      const OpTracker::Options tracking{changed.get_uint("osd_op_history_size"),
                                        changed.get_duration("osd_op_history_duration"),
                                        changed.get_duration("osd_op_complaint_time")};
      center_->post([this, tracking] { server_->set_tracking(tracking); });
    }));
  }
}

Outcome<void> OsdProcess::watch_signals() {
  setup_status_ = ExitStatus::kUsage;
  auto pid_file = PidFile::create(program_.config().get_string("pid_file"));
  if (!pid_file) return failure(pid_file.error());
  pid_file_ = std::move(*pid_file);
  const sigset_t set = handled_signals();
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  auto watch = center_->watch(signals_.get(), msgr::FdEvents::kRead,
                              [this](msgr::FdEvents) { on_signal(); });
  if (!watch) return failure(watch.error(), "cannot wait for signals: " + watch.error().message());
  signal_watch_ = std::move(*watch);
  return {};
}

void OsdProcess::on_signal() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    if (info.ssi_signo != SIGHUP) {
      ends_.push({});
      continue;
    }
    service_manager_->reloading();
    log_reopener_->reopen([this](const Outcome<void>& opened) { on_log_reopened(opened); });
  }
}

void OsdProcess::on_log_reopened(const Outcome<void>& opened) {
  if (!opened) LUNAR_ERROR(kOsd, "{}", opened.error().message);
  if (!keyring_) return service_manager_->reloaded();
  keyring_->reload([this](const Outcome<void>&) { service_manager_->reloaded(); });
}

void OsdProcess::serve_keyring_reload(AdminSocket& socket) {
  keyring_reload_ =
      socket.add("keyring reload", "reads the keyring anew, and fails if it cannot be used",
                 [this](const AdminRequest&, AdminReply reply) {
                   center_->post([this, reply = std::move(reply)]() mutable {
                     reload_keyring(std::move(reply));
                   });
                 });
}

void OsdProcess::reload_keyring(AdminReply reply) {
  if (!keyring_) return reply.send(R"({"success": "without authentication there is no keyring"})");
  keyring_->reload([reply = std::move(reply)](const Outcome<void>& read) mutable {
    if (read)
      reply.send(R"({"success": "the keyring was read"})");
    else
      reply.fail(read.error());
  });
}

// --- start and end ---

Detached OsdProcess::start_up() {
  msgr::Completion<Outcome<msgr::Address>> started;
  server_->start(*stack_, std::move(messenger_), keyring_ ? &keyring_->keyring() : nullptr,
                 std::move(listen_), started.callback());
  service_manager_->starting("waiting for the map to have this server as up");
  const Outcome<msgr::Address> address = co_await started;
  if (address)
    announce(*address);
  else
    ends_.push({status_of(address.error().code), address.error().message});
}

void OsdProcess::announce(const msgr::Address& address) {
  const std::string line =
      fmt::format("lunar-osd.{} ready {}", store_->identity().osd, address.to_string());
  LUNAR_LOG(kOsd, 1, "{}", line);
  if (AdminSocket* socket = program_.admin_socket(); socket != nullptr) {
    server_->add_admin_commands(*socket);
    serve_keyring_reload(*socket);
  }
  print_visible(stderr, "%s\n", line.c_str());
  std::fflush(stderr);
  service_manager_->ready(fmt::format("serving at {}", address.to_string()));
  daemon_.started();
}

// At once, as Ceph's MDS does it: nothing of this start goes on, not even a thread of librados with
// a call that never ends. For the store it is as if the server had been killed.
void OsdProcess::start_anew(const std::string& why) {
  LUNAR_LOG(kOsd, 0, "this server starts anew: {}", why);
  log_flush();
  std::vector<char*> words;
  for (std::string& word : command_) words.push_back(word.data());
  words.push_back(nullptr);
  // The program that is installed now, if it is another one: it has to fit the module of RADOS.
  ::execv(program_path().c_str(), words.data());
  ::execv(kOwnProgram, words.data());
  const std::string reason = last_system_error().message();
  // As little goes on as if it had succeeded. By this status a service manager starts it again.
  ::_exit(complain(daemon_, ExitStatus::kNetwork, "the server cannot start anew: " + reason));
}

Detached OsdProcess::end() {
  const Result<OsdExit> why = co_await ends_.next();
  status_ = why->status;
  service_manager_->stopping();
  if (why->sentence.empty())
    LUNAR_LOG(kOsd, 1, "ending");
  else
    complain(daemon_, status_, why->sentence);

  msgr::Completion<void> returned;  // whoever told us why is inside the server
  center_->post(returned.callback());
  co_await returned;
  msgr::Completion<void> ended;
  server_->shutdown(ended.callback());
  co_await ended;
  msgr::Completion<void> closed;
  store_->shutdown(closed.callback());
  co_await closed;
  center_->stop();
}

}  // namespace lunar::osd
