// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/gateway_session.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdlib>

#include "bstore_plugin/last_error.h"
#include "common/check.h"
#include "common/file.h"
#include "common/log.h"
#include "common/log_config.h"

namespace lunar::bstore_plugin {
namespace {

constexpr std::chrono::milliseconds kAbortTick{100};

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

// The same after a restart of this tgtd, different for any other: PeerIdentity::instance.
std::string instance_name(const Config& config) {
  std::string given = config.get_string("lunar_client_instance");
  if (!given.empty()) return given;
  char host[256] = "localhost";
  if (gethostname(host, sizeof host) == 0) host[sizeof host - 1] = '\0';
  const char* socket = std::getenv("TGT_IPC_SOCKET");
  return std::string(host) + "/tgtd." + (socket != nullptr ? socket : control_port());
}

}  // namespace

Outcome<BsOptions> BsOptions::parse(std::string_view text) {
  BsOptions out;
  while (!text.empty()) {
    const auto end = text.find(';');
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (part.empty()) continue;
    const auto equals = part.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      return failure(std::errc::invalid_argument,
                     "bsopts: '" + std::string(part) +
                         "' is not NAME=VALUE; write conf=FILE;id=ID;pool=POOL;OPTION=VALUE");
    }
    const std::string name(part.substr(0, equals));
    const std::string value(part.substr(equals + 1));
    if (name == "key" || name == "secret") {
      return failure(std::errc::invalid_argument,
                     "bsopts: '" + name +
                         "' is refused, tgtd logs bsopts; put the key into a "
                         "keyring file (mode 0600) and name it with keyring=FILE");
    }
    if (name == "conf") {
      out.conf = value;
    } else if (name == "id") {
      out.id = value;
    } else if (name == "cluster") {
      out.cluster = value;
    } else if (name == "pool") {
      out.pool = value;
    } else {
      out.overrides[name] = value;
    }
  }
  return out;
}

std::string BsOptions::session_key() const {
  Config probe(EntityName{"client", id}, cluster);
  // A file that cannot be read is an error when the session is made; here its name will do.
  const bool loaded = probe.load(conf).has_value();
  std::string file = loaded ? probe.file() : conf;
  if (char* resolved = realpath(file.c_str(), nullptr); resolved != nullptr) {
    file = resolved;
    std::free(resolved);
  }
  return cluster + "\n" + id + "\n" + file;
}

Outcome<GatewaySession*> GatewaySession::create(const BsOptions& options, const lunar_host& host) {
  // On failure what was begun is left behind on purpose: it may be in tgtd's loop already, and the
  // next attempt makes another. LUN creation is rare.
  auto* session = new GatewaySession(host);
  if (auto started = session->start(options); !started) return failure(started.error());
  return session;
}

Outcome<void> GatewaySession::start(const BsOptions& options) {
  const auto name = EntityName::parse("client." + options.id);
  if (!name) {
    return failure(std::errc::invalid_argument,
                   "bsopts: id '" + options.id + "' is not valid; it is the ID of client.ID");
  }
  config_ = std::make_unique<Config>(*name, options.cluster);
  if (auto r = config_->load(options.conf); !r) return r;
  for (const auto& [option, value] : options.overrides) {
    if (auto r = config_->set(option, value); !r) {
      return failure(r.error().code, "bsopts: " + r.error().message);
    }
  }
  overrides_ = options.overrides;
  config_->freeze();
  busy_on_timeout_ = config_->get_string("lunar_sense_on_timeout") == "busy";
  if (auto log = LogConfig::open(*config_); log) {
    log_ = std::move(*log);
  } else {
    remember_error(host_, "logging: " + log.error().message);
  }
  for (const std::string& warning : config_->warnings()) LUNAR_LOG(kTgt, 0, "{}", warning);

  perf_ = std::make_unique<PerfRegistry>();
  auto center = msgr::EventCenter::create({.name = "lunar-tgt"});
  if (!center) return failure(center.error(), "cannot make an event loop");
  center_ = std::move(*center);
  center_->adopt_thread();
  gateway::Client::Identity identity;
  identity.instance = instance_name(*config_);
  auto client = gateway::Client::create(*config_, std::move(identity), *center_, *perf_);
  if (!client) return failure(client.error());
  client_ = std::move(*client);
  if (client_->supports_one_sided()) {
    data_buffers_ = std::make_unique<gateway::DataBuffers>(client_->front_end_buffers(), *perf_);
  }
  if (auto attached = attach_to_loop(); !attached) return attached;
  serve_admin_socket();
  return {};
}

Outcome<void> GatewaySession::attach_to_loop() {
  completion_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  const auto on_center = [](void* self) {
    static_cast<GatewaySession*>(self)->on_center_readable();
  };
  const auto on_completions = [](void* self) {
    auto* session = static_cast<GatewaySession*>(self);
    uint64_t count = 0;
    if (read(session->completion_fd_, &count, sizeof count) < 0) count = 0;
    session->hand_over();
  };
  if (completion_fd_ < 0 || host_.watch_fd(center_->fd(), on_center, this) != 0 ||
      host_.watch_fd(completion_fd_, on_completions, this) != 0) {
    return failure(last_system_error(), "cannot join tgtd's event loop");
  }
  center_->set_same_thread_hook([this] {
    host_.schedule([](void* self) { static_cast<GatewaySession*>(self)->on_turn(); }, this);
  });
  return {};
}

void GatewaySession::serve_admin_socket() {
  const std::string path = config_->get_string("admin_socket");
  if (path.empty()) return;
  const auto folder = make_directories(parent_directory(path));
  auto socket = folder ? AdminSocket::create(path)
                       : Outcome<std::unique_ptr<AdminSocket>>(failure(folder.error()));
  if (!socket) return remember_error(host_, "admin socket: " + socket.error().message);
  admin_ = std::move(*socket);
  admin_->add_standard_commands(*config_, *perf_);
  const auto on_loop = [this](const char* prefix, const char* help, auto answer) {
    admin_commands_.push_back(
        admin_->add(prefix, help, [this, answer](const AdminRequest&, AdminReply reply) {
          auto boxed = std::make_shared<AdminReply>(std::move(reply));
          center_->post([answer, boxed] { boxed->send(answer()); });
        }));
  };
  on_loop("ops in flight", "object ops now, oldest first",
          [this] { return client_->objecter().ops_in_flight_json(); });
  on_loop("sessions", "sessions with object servers",
          [this] { return client_->objecter().sessions_json(); });
  on_loop("last-error", "the sentences of the last failures", [] { return recent_errors_json(); });
}

bool GatewaySession::run_until(InlineFunction<bool()> finished, std::chrono::nanoseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    center_->process();
    if (finished()) break;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    pollfd ready{center_->fd(), POLLIN, 0};
    if (poll(&ready, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) break;
  }
  on_turn();  // what finished meanwhile is handed over from tgtd's loop
  return finished();
}

void GatewaySession::command_started(ScsiCommand& command) {
  running_.push_back(command);
  if (!abort_timer_runs_) watch_for_aborts();
}

void GatewaySession::command_finished(ScsiCommand& command) {
  running_.erase(running_.iterator_to(command));
  const bool first = finished_.empty();
  finished_.push_back(command);
  // Inside the center's turn from its fd this is not needed, and costs one write per burst.
  if (first && !in_fd_turn_) {
    const uint64_t one = 1;
    if (write(completion_fd_, &one, sizeof one) < 0) {
      LUNAR_CHECK(errno == EAGAIN, "completion eventfd");
    }
  }
}

void GatewaySession::on_center_readable() {
  in_fd_turn_ = true;
  center_->process();
  in_fd_turn_ = false;
  hand_over();
}

void GatewaySession::on_turn() { center_->process(); }

void GatewaySession::hand_over() {
  // tgt may submit the next command inside complete(): only what was finished before is handed
  // over.
  Commands batch;
  batch.swap(finished_);
  while (!batch.empty()) {
    ScsiCommand& command = batch.front();
    batch.pop_front();
    command.complete();
  }
}

void GatewaySession::watch_for_aborts() {
  abort_timer_runs_ = true;
  center_->run_after(kAbortTick, [this] {
    for (ScsiCommand& command : running_) command.cancel_if_aborted();
    abort_timer_runs_ = false;
    if (!running_.empty()) watch_for_aborts();
  });
}

}  // namespace lunar::bstore_plugin
