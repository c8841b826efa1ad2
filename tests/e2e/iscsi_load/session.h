// SPDX-License-Identifier: LGPL-2.1-or-later
// One iSCSI connection, logged in to one LUN, on libiscsi. It never reconnects by itself: what is
// in flight when it breaks ends as kConnectionLost, and the owner decides what to send again.
// Bound to its PollLoop's thread.
#pragma once

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "tests/e2e/iscsi_load/poll_loop.h"
#include "tests/e2e/iscsi_load/scsi.h"

struct iscsi_context;
struct scsi_task;

namespace lunar::iscsi_load {

struct Endpoint {
  std::string portal;  // "127.0.0.1:3260"
  std::string target;  // IQN
  int lun = 1;
  std::string user, password;  // CHAP, if the user is not empty
  std::string initiator = "iqn.2024-05.io.lunar:iscsi-load";
};

// Takes iscsi://[USER%PASSWORD@]HOST[:PORT]/TARGET/LUN. An empty target in the result means that it
// is not one.
Endpoint parse_url(const std::string& url);

struct SessionOptions {
  std::chrono::seconds command_timeout{60};  // then ABORT TASK is sent
  std::chrono::seconds abort_timeout{20};    // then the connection is dropped
};

class Session : public Pollable {
 public:
  using Done = std::function<void(Completion)>;

  // `isid` tells this session from others of the same initiator. Logging in again with the same
  // one reinstates it: the target ends what the lost connection left behind (RFC 7143, 6.3.5).
  Session(PollLoop& loop, Endpoint endpoint, uint32_t isid, SessionOptions options);
  ~Session() override;

  // Connects, logs in, and swallows the unit attentions of a new nexus. `done` gets what went
  // wrong, empty for success. REQUIRES: neither connected nor connecting.
  void connect(std::function<void(std::string)> done);
  // Drops the connection; what is in flight ends as kConnectionLost before this returns.
  void disconnect();
  // Ends the session in the way of the protocol if it is up; `done` runs in any case.
  void logout(std::function<void()> done);

  bool is_ready() const { return state_ == State::kReady && !is_doomed_; }
  size_t num_in_flight() const { return in_flight_.size(); }

  // REQUIRES: is_ready(). `done` runs later.
  void submit(const Command& command, Done done);
  // `done` gets the response code of RFC 7143 11.6.1, or −1 if the connection broke.
  void reset_lun(std::function<void(int)> done);

  // Runs when a ready session has broken, after its commands were completed.
  void on_broken(std::function<void()> callback) { on_broken_ = std::move(callback); }

  int fd() const override;
  short wanted_events() const override;
  void service(short events) override;

 private:
  enum class State { kDown, kConnecting, kReady };
  struct InFlight;
  using InFlightList = std::list<std::unique_ptr<InFlight>>;

  void login();
  void swallow_unit_attentions(int tries_left);
  void finish_connect(std::string problem);
  void complete(InFlight& command, Completion completion);
  void break_connection(const std::string& why);
  void tear_down();
  void bury(std::unique_ptr<InFlight> command);
  void watch_deadlines();
  void check_deadlines();
  void abort(InFlight& command);
  void send(const Command& command, Done done);
  std::string last_error() const;

  PollLoop& loop_;
  const Endpoint endpoint_;
  const uint32_t isid_;
  const SessionOptions options_;
  iscsi_context* iscsi_ = nullptr;
  State state_ = State::kDown;
  bool is_doomed_ = false;  // tear down as soon as libiscsi is off the stack
  std::string doom_;
  uint64_t generation_ = 0;  // of the connection, so that old timers know they are old
  std::function<void(std::string)> connect_done_;
  std::function<void()> on_broken_;
  InFlightList in_flight_;  // in order of submission, so in order of deadline
  // Refused before all their data was sent: libiscsi still reads them until its queue is empty.
  std::vector<std::unique_ptr<InFlight>> buried_;
  // Outlives `this` in libiscsi's and the loop's hands, to tell them that it is gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace lunar::iscsi_load
