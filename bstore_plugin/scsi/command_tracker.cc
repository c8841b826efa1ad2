// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/scsi/command_tracker.h"

#include <chrono>

namespace lunar::bstore_plugin {
namespace {

constexpr std::chrono::milliseconds kAbortTick{100};

}  // namespace

void CommandTracker::on_started(ScsiCommand& command) {
  running_.push_back(command);
  listener_.on_command_started();
  if (!is_abort_timer_set_) watch_for_aborts();
}

void CommandTracker::on_finished(ScsiCommand& command) {
  running_.erase(running_.iterator_to(command));
  const bool is_first = finished_.empty();
  finished_.push_back(command);
  if (is_first) listener_.on_commands_due();
}

void CommandTracker::hand_over() {
  Commands batch;
  batch.swap(finished_);
  while (!batch.empty()) {
    ScsiCommand& command = batch.front();
    batch.pop_front();
    listener_.on_command_ended();
    command.complete();
  }
}

void CommandTracker::watch_for_aborts() {
  is_abort_timer_set_ = true;
  place_.center.run_after(kAbortTick, [this] {
    for (ScsiCommand& command : running_) command.cancel_if_aborted();
    is_abort_timer_set_ = false;
    if (!running_.empty()) watch_for_aborts();
  });
}

}  // namespace lunar::bstore_plugin
