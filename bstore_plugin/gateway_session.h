// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <boost/intrusive/list.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bstore_plugin/plugin_api.h"
#include "bstore_plugin/scsi_command.h"
#include "common/admin_socket.h"
#include "common/config.h"
#include "common/inline_function.h"
#include "common/log_config.h"
#include "common/perf_counters.h"
#include "common/result.h"
#include "gateway/client.h"
#include "gateway/data_buffers.h"
#include "msgr/event_center.h"

namespace lunar::bstore_plugin {

// What bsopts say: "conf=FILE;id=ID;cluster=NAME;pool=POOL;OPTION=VALUE;…", all of it optional.
struct BsOptions {
  std::string conf;
  std::string id = "admin";
  std::string cluster = "lunar";
  std::string pool;  // for paths without one
  std::map<std::string, std::string> overrides;

  // A sentence for a part without '=', or a key in it (tgtd logs bsopts).
  static Outcome<BsOptions> parse(std::string_view text);
  // Sessions are shared by LUNs that agree on this: cluster, id and the file that is really read,
  // by whatever way it was found. Two sessions of one entity and instance would fence each other.
  std::string session_key() const;
};

// One cluster as tgtd sees it: the client that all its LUNs share, embedded in tgtd's loop.
// Lives on tgtd's thread. Never destroyed: tgtd exits without closing LUNs.
//
// Two ways into the center: its fd becomes readable (process, then hand finished commands to tgt),
// or a command was submitted (process once before tgtd next waits, so that a burst leaves in one
// writev). tgt allows completions only in the former, so the latter wakes an eventfd for them.
class GatewaySession {
 public:
  static Outcome<GatewaySession*> create(const BsOptions& options, const lunar_host& host);
  ~GatewaySession() = delete;

  gateway::Client& client() noexcept { return *client_; }
  const Config& config() const noexcept { return *config_; }
  const lunar_host& host() const noexcept { return host_; }
  bool busy_on_timeout() const noexcept { return busy_on_timeout_; }
  const std::map<std::string, std::string>& overrides() const noexcept { return overrides_; }

  // Registered memory for tgtd's data buffers; null if this cluster is not reached by RDMA.
  gateway::DataBuffers* data_buffers() noexcept { return data_buffers_.get(); }

  // Runs the loop until `finished()` or the deadline; no command is handed to tgt meanwhile.
  // Returns finished(). For bs_open alone.
  bool run_until(InlineFunction<bool()> finished, std::chrono::nanoseconds timeout);

  // A command joins the ones watched for aborts, or has ended and is to be handed to tgt.
  void command_started(ScsiCommand& command);
  void command_finished(ScsiCommand& command);

 private:
  using Commands = boost::intrusive::list<ScsiCommand, boost::intrusive::constant_time_size<false>>;

  explicit GatewaySession(const lunar_host& host) : host_(host) {}
  Outcome<void> start(const BsOptions& options);
  Outcome<void> attach_to_loop();
  void serve_admin_socket();
  void on_center_readable();
  void on_turn();
  void hand_over();
  void watch_for_aborts();

  const lunar_host& host_;
  std::unique_ptr<Config> config_;
  std::unique_ptr<LogConfig> log_;
  std::unique_ptr<PerfRegistry> perf_;
  std::unique_ptr<msgr::EventCenter> center_;
  std::unique_ptr<gateway::Client> client_;
  std::unique_ptr<gateway::DataBuffers> data_buffers_;
  std::unique_ptr<AdminSocket> admin_;
  std::vector<AdminSocket::ServedCommand> admin_commands_;
  std::map<std::string, std::string> overrides_;
  bool busy_on_timeout_ = false;
  int completion_fd_ = -1;
  Commands running_;
  Commands finished_;
  bool abort_timer_runs_ = false;
  bool in_fd_turn_ = false;
};

}  // namespace lunar::bstore_plugin
