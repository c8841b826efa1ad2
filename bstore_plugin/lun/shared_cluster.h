// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bstore_plugin/lun/bs_options.h"
#include "bstore_plugin/lun/client_start.h"
#include "bstore_plugin/lun/turn_pacing.h"
#include "bstore_plugin/plugin_api.h"
#include "bstore_plugin/scsi/command_tracker.h"
#include "common/admin_socket.h"
#include "common/config.h"
#include "common/log_config.h"
#include "common/perf_counters.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/data_buffers.h"
#include "msgr/event_center.h"

namespace lunar::bstore_plugin {

// For what names files, to be done on a thread of its own: tgtd does nothing else meanwhile.
inline constexpr std::chrono::milliseconds kFileTimeout{2000};
// What is said when they were not.
Error no_file_in_time(const BsOptions& options);

// A cluster handle that all LUNs of a cluster share: its client, on an event loop that is embedded
// in tgtd's. Lives on tgtd's thread. Never destroyed once it is in that loop: tgtd exits without
// closing LUNs.
//
// Two ways into the center: its fd becomes readable (process, then hand finished commands to tgt),
// or a command was submitted (process once before tgtd next waits, so that a burst leaves in one
// writev). tgt allows completions only in the former, so the latter wakes an eventfd for them.
// TurnPacing says when the latter is put off, so that the commands of several turns leave together.
class SharedCluster final : private CommandListener {
 public:
  // Reads the configuration, and if `accept` has nothing against it, begins to look for the
  // cluster. An Error if something of that cannot be. `on_client` runs when there is a client.
  static Outcome<SharedCluster*> create(const BsOptions& options, const lunar_host& host,
                                        Outcome<void> (*accept)(const Config&),
                                        void (*on_client)(SharedCluster&));
  // REQUIRES: it is not in tgtd's loop.
  ~SharedCluster() = default;

  // As ClientStart::wait().
  void wait_for_client(std::chrono::nanoseconds patience,
                       UniqueFunction<void(Outcome<void>)> done) {
    client_start_->wait(patience, std::move(done));
  }
  bool has_client() const noexcept { return client_ != nullptr; }
  // REQUIRES: has_client(), true for good once the cluster has answered.
  gateway::Client& client() noexcept { return *client_; }
  msgr::EventCenter& center() noexcept { return *center_; }
  const Config& config() const noexcept { return *config_; }
  PerfRegistry& perf() noexcept { return *perf_; }
  const lunar_host& host() const noexcept { return host_; }
  const std::map<std::string, std::string>& overrides() const noexcept { return overrides_; }

  // Registered memory for tgtd's data buffers; null if this cluster is not reached by RDMA, and
  // without a client.
  gateway::DataBuffers* data_buffers() noexcept { return data_buffers_.get(); }

  // How many LUNs are not open, and have taken longer than tgtadm waits.
  int overdue_openings() const noexcept { return overdue_openings_; }
  void count_overdue_opening(int change) noexcept { overdue_openings_ += change; }

  // Runs the loop until `is_over()` or the deadline; no command is handed to tgt meanwhile. Returns
  // is_over(). For bs_open alone.
  bool run_until(UniqueFunction<bool()> is_over, std::chrono::nanoseconds timeout);

  // The commands of its LUNs. REQUIRES: has_client().
  CommandTracker& commands() noexcept { return *commands_; }

 private:
  explicit SharedCluster(const lunar_host& host) : host_(host) {}
  Outcome<void> start(const BsOptions& options, Outcome<void> (*accept)(const Config&));
  void open_log();
  void adopt(std::unique_ptr<gateway::Client> client);
  Outcome<void> attach_to_loop();
  void serve_admin_socket();
  void on_center_readable();
  void on_turn();
  void schedule_turn();
  TurnPacing::TimePoint pacing_time() const;
  void on_command_started() noexcept override { pacing_.on_command_started(); }
  void on_command_ended() noexcept override { pacing_.on_command_ended(); }
  void on_commands_due() override;

  const lunar_host& host_;
  std::unique_ptr<Config> config_;
  std::unique_ptr<LogConfig> log_;
  std::unique_ptr<PerfRegistry> perf_;
  std::unique_ptr<msgr::EventCenter> center_;
  std::unique_ptr<ClientStart> client_start_;
  std::unique_ptr<gateway::Client> client_;  // null until the cluster has answered
  std::unique_ptr<gateway::DataBuffers> data_buffers_;
  std::unique_ptr<AdminSocket> admin_;
  std::vector<AdminSocket::ServedCommand> admin_commands_;
  std::map<std::string, std::string> overrides_;
  void (*on_client_)(SharedCluster&) = nullptr;
  int overdue_openings_ = 0;
  bool is_attached_ = false;  // to tgtd's loop, for good
  int completion_fd_ = -1;
  std::optional<CommandTracker> commands_;          // as client_
  TurnPacing pacing_{std::chrono::nanoseconds(0)};  // ms_busy_poll_us, once that is known
  bool is_in_fd_turn_ = false;  // hand_over() follows: completion_fd_ need not be written
};

}  // namespace lunar::bstore_plugin
