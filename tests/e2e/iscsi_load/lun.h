// SPDX-License-Identifier: LGPL-2.1-or-later
// One logical unit over one or more sessions, retrying as a patient host would.
// Bound to its PollLoop's thread; owns its sessions.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/iscsi_load/recorder.h"
#include "tests/e2e/iscsi_load/session.h"

namespace lunar::iscsi_load {

struct LunOptions {
  Endpoint endpoint;
  uint32_t num_connections = 1;
  SessionOptions session;
  std::chrono::seconds retry{0};  // per command, from its first failure; 0: none but unit attention
};

// Properties that the target states. Limits that it does not state are 0.
struct Geometry {
  uint64_t num_blocks = 0;
  uint32_t block_bytes = 0;
  bool is_thin = false;               // LBPME
  bool unmapped_reads_zero = false;   // LBPRZ
  bool has_unmap = false;             // LBPU
  bool has_write_same_unmap = false;  // LBPWS
  uint32_t max_transfer_blocks = 0;
  uint32_t max_unmap_blocks = 0;
  uint64_t max_write_same_blocks = 0;
  uint8_t max_compare_and_write_blocks = 0;
};

// How a command ended after all its attempts.
struct FinalCompletion {
  Completion last;
  // Some attempt may have been carried out, wholly or in part, without an answer.
  bool has_unknown_attempt = false;
};

class Lun {
 public:
  using Done = std::function<void(const FinalCompletion&)>;

  Lun(PollLoop& loop, LunOptions options);

  // Connects every session, within the retry time, and reads the geometry. `done` gets a
  // sentence about the failure, empty for success.
  void open(std::function<void(std::string)> done);
  void close(std::function<void()> done);
  const Geometry& geometry() const { return geometry_; }

  // `done` runs later. Commands that wait for a session are sent in order of submission.
  // With `recorded`, each attempt goes to the recorder as that.
  void submit(Command command, Done done, std::shared_ptr<const test::HistoryOp> recorded = {});

  // Borrowed; of all commands that are submitted with `recorded`.
  void record_to(Recorder& recorder) { recorder_ = &recorder; }

  // Sends LUN RESET on some session; what is in flight may have no answer. False if none is ready.
  bool reset();

  // How many attempts had to be repeated, by reason ("BUSY", "connection lost", …).
  const std::map<std::string, uint64_t>& retries() const { return retries_; }

 private:
  struct Pending {
    Command command;
    Done done;
    std::shared_ptr<const test::HistoryOp> recorded;  // null if it is not
    bool has_unknown_attempt = false;
    bool has_failed = false;
    Clock::time_point give_up;  // set at the first failure
  };
  using PendingPtr = std::shared_ptr<Pending>;

  void connect(Session& session, Clock::time_point give_up);
  void connected(Session& session, const std::string& problem, Clock::time_point give_up);
  void probe();
  void probe_limits(std::function<void()> then);
  void probe_provisioning();
  void dispatch(const PendingPtr& pending);
  Session* next_ready();
  void attempt_done(const PendingPtr& pending, Completion completion);
  void send_waiting();
  void fail_waiting();

  PollLoop& loop_;
  const LunOptions options_;
  std::vector<std::unique_ptr<Session>> sessions_;
  size_t next_session_ = 0;
  Geometry geometry_;
  std::function<void(std::string)> open_done_;
  bool is_open_ = false;
  bool is_closing_ = false;
  bool has_given_up_ = false;  // no session came back within the retry time
  size_t num_closing_ = 0;
  std::deque<PendingPtr> waiting_;  // for a session to be ready
  std::map<std::string, uint64_t> retries_;
  Recorder* recorder_ = nullptr;
};

}  // namespace lunar::iscsi_load
