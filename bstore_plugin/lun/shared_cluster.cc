// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/shared_cluster.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdlib>

#include "bstore_plugin/lun/last_error.h"
#include "common/admin_commands.h"
#include "common/check.h"
#include "common/crc32c.h"
#include "common/file.h"
#include "common/host.h"
#include "common/log.h"
#include "common/log_config.h"
#include "common/run_in_time.h"
#include "msgr/keyring_watch.h"

namespace lunar::bstore_plugin {
namespace {

// What the admin socket says without a client.
constexpr const char* kNoOps = R"({"ops": [], "command_ops": []})";
constexpr const char* kNoSessions = R"({"epoch": 0, "sessions": []})";

// tgtd ends without destroying a cluster: a socket that stays would look like that of a tgtd that
// was killed.
void close_at_exit(std::unique_ptr<AdminSocket>& socket) {
  static auto& sockets = *new std::vector<std::unique_ptr<AdminSocket>*>;
  if (sockets.empty()) {
    std::atexit([] {
      for (auto* const each : sockets) each->reset();
    });
  }
  sockets.push_back(&socket);
}

// The value of -C/--control-port on tgtd's command line: it tells two tgtd of one host apart.
std::string control_port() {
  const auto text = read_file("/proc/self/cmdline", 64 << 10);
  if (!text) return "0";
  std::vector<std::string> words(1);
  for (const char c : *text) {
    if (c == '\0') {
      words.emplace_back();
    } else {
      words.back().push_back(c);
    }
  }
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "-C" || words[i] == "--control-port") return words[i + 1];
  }
  return "0";
}

// The same after a restart of this tgtd, different for any other, and for every other cluster
// handle of this one: PeerIdentity::instance.
std::string instance_name(const Config& config, const std::string& cluster_key) {
  std::string name = config.get_string("lunar_client_instance");
  if (name.empty()) {
    char host[256] = "localhost";
    if (gethostname(host, sizeof host) == 0) host[sizeof host - 1] = '\0';
    const char* socket = std::getenv("TGT_IPC_SOCKET");
    name = std::string(host) + "/tgtd." + (socket != nullptr ? socket : control_port());
  }
  return fmt::format("{}.{:08x}", name, crc32c(0, as_const_bytes(cluster_key)));
}

// All that is read when a cluster is opened.
struct ClusterFiles {
  std::unique_ptr<Config> config;
  std::string cluster_key;  // BsOptions::cluster_key()
  msgr::KeyringWatch::Reading keyring;
};

// Blocks.
Outcome<ClusterFiles> read_files(const BsOptions& options, const EntityName& name) {
  auto config = std::make_unique<Config>(name, options.cluster);
  if (auto r = config->load(options.conf); !r) return failure(r.error());
  for (const auto& [option, value] : options.overrides) {
    if (auto r = config->set(option, value); !r)
      return failure(r.error().code, "bsopts: " + r.error().message);
  }
  auto keyring = msgr::KeyringWatch::read(config->get_string("keyring"));
  return ClusterFiles{std::move(config), options.cluster_key(), std::move(keyring)};
}

Outcome<ClusterFiles> read_files_in_time(const BsOptions& options) {
  const auto name = EntityName::parse("client." + options.id);
  if (!name) {
    return failure(std::errc::invalid_argument,
                   "bsopts: id '" + options.id + "' is not valid; it is the ID of client.ID");
  }
  auto files = run_in_time<Outcome<ClusterFiles>>(
      [options, name = *name] { return read_files(options, name); }, kFileTimeout);
  if (!files) return failure(no_file_in_time(options));
  return std::move(*files);
}

// Blocks. The socket is in a folder that is made if it is missing.
Outcome<std::unique_ptr<AdminSocket>> open_admin_socket(const std::string& path) {
  if (auto made = make_directories(parent_directory(path)); !made) return failure(made.error());
  return AdminSocket::create(path);
}

}  // namespace

Error no_file_in_time(const BsOptions& options) {
  const std::string conf = options.conf.empty() ? "the configuration" : "conf=" + options.conf;
  return {std::make_error_code(std::errc::timed_out),
          "bsopts: " + conf +
              ", or the keyring that it names, cannot be read: it is on a file system that does "
              "not answer, or too many earlier ones were; copy both to a local disk"};
}

Outcome<SharedCluster*> SharedCluster::create(const BsOptions& options, const lunar_host& host,
                                              Outcome<void> (*accept)(const Config&),
                                              void (*on_client)(SharedCluster&)) {
  // What is in tgtd's loop already stays for good, whatever becomes of it.
  std::unique_ptr<SharedCluster> cluster(new SharedCluster(host));
  cluster->on_client_ = on_client;
  auto started = cluster->start(options, accept);
  if (cluster->is_attached_) {
    SharedCluster* const kept = cluster.release();
    if (started) return kept;
  }
  return failure(started.error());
}

Outcome<void> SharedCluster::start(const BsOptions& options,
                                   Outcome<void> (*accept)(const Config&)) {
  auto files = read_files_in_time(options);
  if (!files) return failure(files.error());
  config_ = std::move(files->config);
  if (auto accepted = accept(*config_); !accepted) return accepted;
  overrides_ = options.overrides;
  config_->freeze();
  open_log();
  for (const std::string& warning : config_->warnings()) LUNAR_LOG(kTgt, 0, "{}", warning);

  pacing_ = TurnPacing(std::chrono::microseconds(config_->get_uint("ms_busy_poll_us")));
  perf_ = std::make_unique<PerfRegistry>();
  auto center = msgr::EventCenter::create({.name = "lunar-tgt"});
  if (!center) return failure(center.error(), "cannot make an event loop");
  center_ = std::move(*center);
  center_->adopt_thread();
  auto client_start = ClientStart::create(
      *config_, instance_name(*config_, files->cluster_key), std::move(files->keyring), *center_,
      *perf_, [this](std::unique_ptr<gateway::Client> client) { adopt(std::move(client)); });
  if (!client_start) return failure(client_start.error());
  client_start_ = std::move(*client_start);
  if (auto attached = attach_to_loop(); !attached) return attached;
  serve_admin_socket();
  return {};
}

void SharedCluster::open_log() {
  const LogTarget target = LogConfig::target_of(*config_);
  const auto opened =
      run_in_time<Outcome<void>>([target] { return log_open(target); }, kFileTimeout);
  if (!opened) {
    remember_error(host_, "logging: log_file " + target.file +
                              " cannot be opened in time: it is on a file system that does not "
                              "answer, or a pipe that nobody reads");
  } else if (!*opened) {
    remember_error(host_, "logging: " + opened->error().message);
  }
  log_ = LogConfig::follow(*config_);
}

void SharedCluster::adopt(std::unique_ptr<gateway::Client> client) {
  client_ = std::move(client);
  if (client_->supports_one_sided()) {
    data_buffers_ = std::make_unique<gateway::DataBuffers>(client_->front_end_buffers(), *perf_);
  }
  const bool is_busy_on_timeout = config_->get_string("lunar_sense_on_timeout") == "busy";
  commands_.emplace(
      CommandPlace{host_, *center_, *client_, data_buffers_.get(), is_busy_on_timeout},
      static_cast<CommandListener&>(*this));
  on_client_(*this);
}

Outcome<void> SharedCluster::attach_to_loop() {
  is_attached_ = true;
  completion_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const auto on_center = [](void* self) {
    static_cast<SharedCluster*>(self)->on_center_readable();
  };
  const auto on_completions = [](void* self) {
    auto* cluster = static_cast<SharedCluster*>(self);
    uint64_t count = 0;
    if (read(cluster->completion_fd_, &count, sizeof count) < 0) count = 0;
    if (cluster->commands_) cluster->commands_->hand_over();
  };
  if (completion_fd_ < 0 || host_.watch_fd(center_->fd(), on_center, this) != 0 ||
      host_.watch_fd(completion_fd_, on_completions, this) != 0) {
    return failure(last_system_error(), "cannot join tgtd's event loop");
  }
  center_->set_same_thread_hook([this] {
    pacing_.on_posted();
    schedule_turn();
  });
  return {};
}

void SharedCluster::serve_admin_socket() {
  const std::string path = config_->get_string("admin_socket");
  if (path.empty()) return;
  auto socket = run_in_time<Outcome<std::unique_ptr<AdminSocket>>>(
      [path] { return open_admin_socket(path); }, kFileTimeout);
  if (!socket) {
    return remember_error(host_, "admin socket: " + path +
                                     " cannot be made in time: it is on a file system that does "
                                     "not answer; choose a local folder");
  }
  if (!*socket) return remember_error(host_, "admin socket: " + socket->error().message);
  admin_ = std::move(**socket);
  close_at_exit(admin_);
  admin_commands_ = add_standard_commands(*admin_, *config_, *perf_);
  const auto on_loop = [this](const char* prefix, const char* help, auto answer) {
    admin_commands_.push_back(
        admin_->add(prefix, help, [this, answer](const AdminRequest&, AdminReply reply) {
          center_->post([answer, reply = std::move(reply)]() mutable { reply.send(answer()); });
        }));
  };
  on_loop("ops in flight", "the object ops in flight, oldest first", [this] {
    return has_client() ? client_->objecter().ops_in_flight_json() : std::string(kNoOps);
  });
  on_loop("sessions", "the sessions with object servers", [this] {
    return has_client() ? client_->objecter().sessions_json() : std::string(kNoSessions);
  });
  on_loop("last-error", "the sentences of the last failures", [] { return recent_errors_json(); });
}

bool SharedCluster::run_until(UniqueFunction<bool()> is_over, std::chrono::nanoseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    center_->process();
    if (is_over()) break;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    pollfd ready{center_->fd(), POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) break;
  }
  center_->process();  // what finished meanwhile is handed over from tgtd's loop
  return is_over();
}

// Inside the center's turn from its fd this is not needed, and costs one write per burst.
void SharedCluster::on_commands_due() {
  if (is_in_fd_turn_) return;
  const uint64_t one = 1;
  if (write(completion_fd_, &one, sizeof one) < 0) {
    LUNAR_CHECK(errno == EAGAIN, "completion eventfd");
  }
}

void SharedCluster::on_center_readable() {
  pacing_.on_readable(pacing_time());
  is_in_fd_turn_ = true;
  center_->process();
  is_in_fd_turn_ = false;
  if (commands_) commands_->hand_over();
  if (pacing_.wants_turn(pacing_time())) schedule_turn();
}

// Costs nothing unless the pacing looks at it.
TurnPacing::TimePoint SharedCluster::pacing_time() const {
  return pacing_.can_spin() ? monotonic_now() : TurnPacing::TimePoint();
}

void SharedCluster::schedule_turn() {
  host_.schedule([](void* self) { static_cast<SharedCluster*>(self)->on_turn(); }, this);
}

void SharedCluster::on_turn() {
  const TurnPacing::TimePoint now = pacing_time();
  if (pacing_.must_put_off()) return schedule_turn();
  if (pacing_.take_posts()) center_->process();
  if (pacing_.wants_turn(now)) schedule_turn();
}

}  // namespace lunar::bstore_plugin
