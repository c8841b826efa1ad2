// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "common/config.h"
#include "common/perf_counters.h"
#include "common/result.h"
#include "gateway/client.h"
#include "gateway/image.h"
#include "msgr/event_center.h"
#include "tools/lunar/waiting_notes.h"

namespace lunar::tools {

// A client for programs that do one thing after the other: owns the loop and drives it on the
// calling thread while something is waited for. Single-threaded.
class ClusterHandle {
 public:
  // Waits for the map; errors are sentences. Config and registry are borrowed.
  static Outcome<std::unique_ptr<ClusterHandle>> open(const Config& config, PerfRegistry& perf);
  ~ClusterHandle();

  gateway::Client& client() noexcept { return *client_; }
  msgr::EventCenter& center() noexcept { return *center_; }

  // start(done) begins something; returns what done was called with.
  template <typename T, typename Start>
  Outcome<T> wait(Start start) {
    auto result = std::make_shared<std::optional<Outcome<T>>>();
    start([result](Outcome<T> outcome) { *result = std::move(outcome); });
    run_until([result] { return result->has_value(); });
    return std::move(**result);
  }
  // Until it returns true; at the latest soon after that, if nothing happens on the loop. Also
  // until `fd` can be read, unless it is -1.
  void run_until(InlineFunction<bool()> finished, int fd = -1);

  // Whoever has the image open may be waited for, which no op in flight shows: says so once, after
  // a second. Until end_of_lock_wait().
  void begin_lock_wait(const std::string& spec);
  void end_of_lock_wait() { lock_wait_.clear(); }

  Outcome<std::shared_ptr<gateway::Image>> open_image(const std::string& spec,
                                                      const gateway::OpenOptions& options);
  Outcome<void> close_image(std::shared_ptr<gateway::Image> image);

 private:
  ClusterHandle() = default;
  Outcome<objecter::OsdMapRef> wait_for_map(std::chrono::nanoseconds timeout);
  void say_what_is_waited_for();

  std::unique_ptr<msgr::EventCenter> center_;
  std::unique_ptr<gateway::Client> client_;
  std::optional<WaitingNotes> notes_;
  WaitingNotes::TimePoint next_look_;
  std::string lock_wait_;  // the sentence to say; empty once it was, and while there is none
  WaitingNotes::TimePoint lock_wait_since_;
};

}  // namespace lunar::tools
