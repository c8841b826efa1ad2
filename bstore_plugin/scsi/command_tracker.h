// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <boost/intrusive/list.hpp>

#include "bstore_plugin/plugin_api.h"
#include "bstore_plugin/scsi/scsi_command.h"
#include "gateway/client.h"
#include "gateway/data_buffers.h"
#include "msgr/event_center.h"

namespace lunar::bstore_plugin {

// What the commands of a cluster's LUNs work with. Borrowed.
struct CommandPlace {
  const lunar_host& host;
  msgr::EventCenter& center;
  gateway::Client& client;
  gateway::DataBuffers* data_buffers = nullptr;  // null: tgt's are plain memory
  bool is_busy_on_timeout = false;               // lunar_sense_on_timeout = busy
};

// Who drives a tracker. Calls come from within on_started(), on_finished() and hand_over().
class CommandListener {
 public:
  virtual void on_command_started() noexcept {}
  virtual void on_command_ended() noexcept {}  // tgt is told next
  // The first of some commands has ended: hand_over() is to be called, later.
  virtual void on_commands_due() = 0;

 protected:
  ~CommandListener() = default;
};

// The commands of all LUNs of a cluster, each from submit until tgt has been told: those that run
// are watched for aborts, those that have ended wait for hand_over(). On tgtd's thread. Borrows the
// listener; outlives its commands.
class CommandTracker {
 public:
  CommandTracker(const CommandPlace& place, CommandListener& listener)
      : place_(place), listener_(listener) {}
  CommandTracker(const CommandTracker&) = delete;

  const CommandPlace& place() const noexcept { return place_; }
  void on_started(ScsiCommand& command);
  void on_finished(ScsiCommand& command);
  // Tells tgt of those that have ended. tgt may submit the next ones meanwhile, and these wait for
  // the next call. Only from an fd handler of tgtd.
  void hand_over();

 private:
  using Commands = boost::intrusive::list<ScsiCommand, boost::intrusive::constant_time_size<false>>;

  void watch_for_aborts();

  const CommandPlace place_;
  CommandListener& listener_;
  Commands running_;  // each command is in one of these two
  Commands finished_;
  bool is_abort_timer_set_ = false;
};

}  // namespace lunar::bstore_plugin
