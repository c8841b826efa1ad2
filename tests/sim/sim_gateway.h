// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bstore_plugin/scsi/cached_writes.h"
#include "bstore_plugin/scsi/command_tracker.h"
#include "bstore_plugin/scsi/reach.h"
#include "gateway/data_buffers.h"
#include "gateway/image.h"
#include "tests/history/history.h"
#include "tests/sim/sim_client.h"
#include "tests/sim/sim_initiator.h"

namespace lunar::sim {

using test::HistoryCommand;
using test::HistoryOp;
using test::HistoryOutcome;

// What the workers of a gateway do.
struct Workload {
  unsigned workers = 3;
  Duration longest_pause = std::chrono::milliseconds(150);  // of a worker, between its commands
  uint64_t image_blocks = 32;
  uint64_t object_blocks = 4;
  int gateways = 2;            // of the image: clients 1, 2 …
  bool is_exclusive = false;   // one of them has the lock, and the others wait for it
  bool may_be_fenced = false;  // by an operator; of an exclusive one by the others, too
  uint64_t most_blocks = 6;    // of one command
};

// A process with the SCSI layer over an open image, as tgtd has it, and initiators that work on it,
// each with one command at a time. They do what Linux does with status and sense: BUSY and ABORTED
// COMMAND are sent again, and what takes too long is aborted, and sent again unless it must not be
// done twice. Of an aborted command tgt drops the status.
class SimGateway {
 public:
  static constexpr uint64_t kBlock = kBlockBytes;
  struct Place {
    SimHost& host;
    const msgr::LoopbackStack& wire;
    test::History& history;
    std::vector<msgr::Address> servers;
    std::function<test::ContentId()> next_id;  // unique in the run
    std::function<void(std::string)> wrong;
    int& owner;  // the client that has the image's lock, of an exclusive workload; 0: none yet
  };
  // `client` is its number in the history.
  SimGateway(const Place& place, int client, const Workload& workload);

  void start();
  void kill();
  void retire() {  // for good
    is_retired_ = true;
    kill();
  }
  void restart_after(Duration delay);
  void pause(bool is_paused);
  // Opens the image once more, and then closes what it had open, with commands in flight.
  void reopen();
  void turn_back_clock(Duration by) { wall_offset_ -= by; }  // from the next start on
  SimNetwork* network() noexcept { return life_ == nullptr ? nullptr : &life_->process.network; }
  SimLoop* loop() noexcept { return life_ == nullptr ? nullptr : &life_->process.loop; }
  bool is_running() const noexcept { return life_ != nullptr; }

  bool has_image() const noexcept { return life_ != nullptr && life_->image != nullptr; }
  bool is_idle() const noexcept;
  objecter::OsdId server_of(uint64_t block) const;  // which has it, always; REQUIRES: has_image()
  void stop_working() noexcept { is_working_ = false; }
  // A command of the run itself; REQUIRES: has_image(). `on_end` runs once, unless it is killed.
  void command(const HistoryOp& record, std::function<void(HistoryOutcome)> on_end);

  const std::string& instance() const noexcept { return instance_; }
  void allow_fences() noexcept { workload_.may_be_fenced = true; }

  uint64_t commands() const noexcept { return commands_; }
  const std::string& last_error() const noexcept { return last_error_; }

 private:
  struct Command;
  struct Life : SimClient, bstore_plugin::CommandListener {
    using SimClient::SimClient;
    void on_commands_due() override {
      process.center().post([this] { commands->hand_over(); });
    }
    std::optional<gateway::DataBuffers> buffers;
    std::optional<bstore_plugin::CommandTracker> commands;
    std::shared_ptr<gateway::Image> image;
    std::shared_ptr<bstore_plugin::Reach> reach;          // as image
    std::shared_ptr<bstore_plugin::CachedWrites> cached;  // as image
    unsigned in_flight = 0;
  };
  static const lunar_host& scsi_host();
  void open(Life& life);
  gateway::OpenLock choose_lock();
  void on_open(Life& life);
  static void take_image(Life& life, std::shared_ptr<gateway::Image> image);
  void on_fenced(Life& life);
  void send(Life& life, Command& command);
  void on_done(Life& life, Command& command, const lunar_scsi_result& result);
  void set_time();
  void work(Life& life);
  HistoryOp choose();

  const Place place_;
  const int client_;
  const std::string instance_;
  Workload workload_;
  Life* life_ = nullptr;  // left behind when it ends
  bool is_working_ = true;
  bool is_restart_due_ = false;
  bool is_retired_ = false;
  Duration wall_offset_{};
  uint64_t commands_ = 0;
  std::string last_error_;
  bool has_other_name_ = false;      // the image, when it was found last
  std::vector<uint64_t> last_read_;  // ids, for what a COMPARE AND WRITE expects
};

}  // namespace lunar::sim
