// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <boost/intrusive/list.hpp>
#include <utility>

#include "bstore_plugin/plugin_api.h"
#include "bstore_plugin/scsi/scsi_command.h"
#include "common/unique_function.h"
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

// The commands of all LUNs of a cluster, each from submit until tgt has been told: those that run
// are watched for aborts, those that have ended wait for hand_over(). On tgtd's thread. Outlives
// its commands.
class CommandTracker {
 public:
  // `on_due` runs when the first of some commands has ended: hand_over() is to be called, later.
  CommandTracker(const CommandPlace& place, UniqueFunction<void()> on_due)
      : place_(place), on_due_(std::move(on_due)) {}
  CommandTracker(const CommandTracker&) = delete;

  const CommandPlace& place() const noexcept { return place_; }
  void on_started(ScsiCommand& command);
  void on_finished(ScsiCommand& command);
  // Whether any has started since this was last called.
  bool exchange_has_started() noexcept { return std::exchange(has_started_, false); }
  // Tells tgt of those that have ended. tgt may submit the next ones meanwhile, and these wait for
  // the next call. Only from an fd handler of tgtd.
  void hand_over();

 private:
  using Commands = boost::intrusive::list<ScsiCommand, boost::intrusive::constant_time_size<false>>;

  void watch_for_aborts();

  const CommandPlace place_;
  UniqueFunction<void()> on_due_;
  Commands running_;  // each command is in one of these two
  Commands finished_;
  bool is_abort_timer_set_ = false;
  bool has_started_ = false;
};

}  // namespace lunar::bstore_plugin
