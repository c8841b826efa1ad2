// SPDX-License-Identifier: LGPL-2.1-or-later
//
// libiscsi calls back from inside iscsi_service(), where the context must not be destroyed. So a
// connection that has to go is marked (break_connection) and torn down when service() is done with
// libiscsi; destroying the context then completes what was in flight.
#include "tests/e2e/iscsi_load/session.h"

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>

#include <algorithm>
#include <utility>

namespace lunar::iscsi_load {
namespace {

constexpr int kMaxUnitAttentions = 20;

struct TaskDeleter {
  void operator()(scsi_task* task) const { scsi_free_scsi_task(task); }
};

int to_libiscsi(Direction direction) {
  switch (direction) {
    case Direction::kRead:
      return SCSI_XFER_READ;
    case Direction::kWrite:
      return SCSI_XFER_WRITE;
    case Direction::kNone:
      break;
  }
  return SCSI_XFER_NONE;
}

// The result of a task that libiscsi has finished.
Completion completion_of(int status, const scsi_task& task) {
  Completion completion;
  if (status < 0 || status > 0xff) return completion;  // CANCELLED, ERROR: the connection is gone
  completion.end = End::kAnswered;
  completion.status = status == SCSI_STATUS_GOOD ? kGood : status;
  completion.transferred = task.expxferlen;
  if (task.residual_status == SCSI_RESIDUAL_UNDERFLOW) {
    completion.transferred -= std::min<size_t>(task.residual, task.expxferlen);
  }
  constexpr int kLengthPrefix = 2;  // RFC 7143, 11.4.7.2
  if (status == SCSI_STATUS_CHECK_CONDITION && task.datain.size > kLengthPrefix) {
    completion.sense = parse_sense(
        {task.datain.data + kLengthPrefix, static_cast<size_t>(task.datain.size - kLengthPrefix)});
  }
  return completion;
}

}  // namespace

struct Session::InFlight {
  Session* session;
  Done done;
  Clock::time_point deadline;
  bool abort_sent = false;
  bool abort_confirmed = false;
  std::shared_ptr<Buffer> data;  // libiscsi reads or fills it until the task is freed
  std::unique_ptr<scsi_task, TaskDeleter> task;
  InFlightList::iterator position;
};

Endpoint parse_url(const std::string& url) {
  static const std::string kScheme = "iscsi://";
  Endpoint endpoint;
  if (url.compare(0, kScheme.size(), kScheme) != 0) return endpoint;
  size_t target = url.find('/', kScheme.size());
  if (target == std::string::npos) return endpoint;
  size_t lun = url.find('/', target + 1);
  if (lun == std::string::npos || lun + 1 == url.size() || url.size() - lun > 6) return endpoint;
  if (url.find_first_not_of("0123456789", lun + 1) != std::string::npos) return endpoint;
  endpoint.portal = url.substr(kScheme.size(), target - kScheme.size());
  if (const size_t at = endpoint.portal.find('@'); at != std::string::npos) {
    const size_t percent = std::min(endpoint.portal.find('%'), at);
    endpoint.user = endpoint.portal.substr(0, percent);
    endpoint.password =
        endpoint.portal.substr(std::min(percent + 1, at), at - std::min(percent + 1, at));
    endpoint.portal.erase(0, at + 1);
  }
  endpoint.lun = std::stoi(url.substr(lun + 1));
  endpoint.target = url.substr(target + 1, lun - target - 1);
  return endpoint;
}

Session::Session(PollLoop& loop, Endpoint endpoint, uint32_t isid, SessionOptions options)
    : loop_(loop), endpoint_(std::move(endpoint)), isid_(isid), options_(options) {
  loop_.watch(*this);
}

Session::~Session() {
  *alive_ = false;
  loop_.unwatch(*this);
  on_broken_ = nullptr;
  connect_done_ = nullptr;
  tear_down();
}

void Session::connect(std::function<void(std::string)> done) {
  state_ = State::kConnecting;
  connect_done_ = std::move(done);
  is_doomed_ = false;
  ++generation_;
  iscsi_ = iscsi_create_context(endpoint_.initiator.c_str());
  iscsi_set_noautoreconnect(iscsi_, 1);
  iscsi_set_isid_random(iscsi_, isid_ & 0xffffff, isid_ >> 24);
  iscsi_set_session_type(iscsi_, ISCSI_SESSION_NORMAL);
  iscsi_set_header_digest(iscsi_, ISCSI_HEADER_DIGEST_NONE);
  iscsi_set_targetname(iscsi_, endpoint_.target.c_str());
  if (!endpoint_.user.empty())
    iscsi_set_initiator_username_pwd(iscsi_, endpoint_.user.c_str(), endpoint_.password.c_str());
  auto connected = [](iscsi_context*, int status, void*, void* self) {
    auto* session = static_cast<Session*>(self);
    if (status == SCSI_STATUS_GOOD) return session->login();
    session->break_connection("cannot connect: " + session->last_error());
  };
  int rc = iscsi_connect_async(iscsi_, endpoint_.portal.c_str(), connected, this);
  if (rc != 0) break_connection("cannot connect: " + last_error());

  // A target that accepts a connection and then stays silent must not block a run for ever.
  auto give_up = [this, alive = alive_, generation = generation_] {
    if (!*alive || generation != generation_ || state_ != State::kConnecting) return;
    break_connection("no answer to connect or login");
    service(0);
  };
  loop_.call_at(Clock::now() + options_.abort_timeout, give_up);
  if (is_doomed_) {
    loop_.call_at(Clock::now(), [this, alive = alive_] {
      if (*alive) service(0);
    });
  }
}

void Session::login() {
  auto logged_in = [](iscsi_context*, int status, void*, void* self) {
    auto* session = static_cast<Session*>(self);
    if (status == SCSI_STATUS_GOOD) return session->swallow_unit_attentions(kMaxUnitAttentions);
    session->break_connection("login refused: " + session->last_error());
  };
  if (iscsi_login_async(iscsi_, logged_in, this) != 0) {
    break_connection("cannot log in: " + last_error());
  }
}

void Session::swallow_unit_attentions(int tries_left) {
  send(test_unit_ready(), [this, tries_left](Completion completion) {
    if (completion.end != End::kAnswered) return;  // tear_down() reports it
    if (completion.is_sense(kUnitAttention) && tries_left > 0) {
      return swallow_unit_attentions(tries_left - 1);
    }
    // The commands that follow handle all other answers, NOT READY included.
    finish_connect("");
  });
}

void Session::finish_connect(std::string problem) {
  state_ = problem.empty() ? State::kReady : State::kDown;
  if (state_ == State::kReady) watch_deadlines();
  auto done = std::exchange(connect_done_, nullptr);
  if (done) done(std::move(problem));
}

void Session::disconnect() {
  if (state_ == State::kDown) return;
  on_broken_ = nullptr;
  break_connection("disconnected");
  tear_down();
}

void Session::logout(std::function<void()> done) {
  if (state_ != State::kReady) return loop_.call_at(Clock::now(), std::move(done));
  auto logged_out = [](iscsi_context*, int, void*, void* self) {
    static_cast<Session*>(self)->break_connection("logged out");
  };
  on_broken_ = std::move(done);
  if (iscsi_logout_async(iscsi_, logged_out, this) != 0) break_connection("cannot log out");
  auto give_up = [this, alive = alive_, generation = generation_] {
    if (*alive && generation == generation_ && state_ == State::kReady) {
      break_connection("no answer to logout");
    }
  };
  loop_.call_at(Clock::now() + std::chrono::seconds(5), give_up);
}

void Session::submit(const Command& command, Done done) { send(command, std::move(done)); }

void Session::send(const Command& command, Done done) {
  auto owned = std::make_unique<InFlight>();
  InFlight& entry = *owned;
  entry.session = this;
  entry.done = std::move(done);
  entry.data = command.data;
  entry.deadline = Clock::now() + options_.command_timeout;
  std::vector<uint8_t> cdb = command.cdb;
  int length = command.data ? static_cast<int>(command.data->size()) : 0;
  entry.task.reset(scsi_create_task(static_cast<int>(cdb.size()), cdb.data(),
                                    to_libiscsi(command.direction), length));
  if (length > 0) {
    auto* bytes = reinterpret_cast<unsigned char*>(command.data->data());
    if (command.direction == Direction::kRead) {
      scsi_task_add_data_in_buffer(entry.task.get(), length, bytes);
    } else {
      scsi_task_add_data_out_buffer(entry.task.get(), length, bytes);
    }
  }
  entry.position = in_flight_.insert(in_flight_.end(), std::move(owned));
  auto finished = [](iscsi_context*, int status, void*, void* arg) {
    auto* command = static_cast<InFlight*>(arg);
    // libiscsi found the connection dead and is cancelling all: nothing new may be queued on it.
    if (status == SCSI_STATUS_CANCELLED && !command->abort_confirmed) {
      command->session->break_connection("the target closed the connection");
    }
    command->session->complete(*command, completion_of(status, *command->task));
  };
  if (iscsi_scsi_command_async(iscsi_, endpoint_.lun, entry.task.get(), finished, nullptr,
                               &entry) != 0) {
    break_connection("cannot queue a command: " + last_error());  // tear_down() completes it
  }
}

void Session::complete(InFlight& command, Completion completion) {
  if (command.abort_confirmed) completion.end = End::kAborted;
  auto owned = std::move(*command.position);
  in_flight_.erase(command.position);
  Done done = std::move(owned->done);
  bury(std::move(owned));
  done(std::move(completion));
}

void Session::bury(std::unique_ptr<InFlight> command) {
  if (iscsi_ && iscsi_out_queue_length(iscsi_) > 0 && command->task->xfer_dir == SCSI_XFER_WRITE &&
      command->task->status != SCSI_STATUS_GOOD) {
    buried_.push_back(std::move(command));
  }
}

void Session::break_connection(const std::string& why) {
  if (is_doomed_) return;
  is_doomed_ = true;
  doom_ = why;
}

void Session::tear_down() {
  if (!iscsi_) return;
  is_doomed_ = true;
  State was = std::exchange(state_, State::kDown);
  ++generation_;
  iscsi_destroy_context(std::exchange(iscsi_, nullptr));  // completes in_flight_ if logged in
  while (!in_flight_.empty()) complete(*in_flight_.front(), Completion{});
  buried_.clear();
  is_doomed_ = false;
  if (was == State::kConnecting) {
    finish_connect(doom_);
  } else if (was == State::kReady && on_broken_) {
    auto callback = on_broken_;
    callback();
  }
}

void Session::watch_deadlines() {
  auto check = [this, alive = alive_, generation = generation_] {
    if (!*alive || generation != generation_ || state_ != State::kReady) return;
    check_deadlines();
    watch_deadlines();
  };
  loop_.call_at(Clock::now() + std::chrono::milliseconds(200), check);
}

void Session::check_deadlines() {
  auto now = Clock::now();
  for (auto& command : in_flight_) {
    if (now < command->deadline) continue;
    if (command->abort_sent) return break_connection("no answer to ABORT TASK");
    abort(*command);
  }
}

void Session::abort(InFlight& command) {
  command.abort_sent = true;
  command.deadline = Clock::now() + options_.abort_timeout;
  struct AbortRequest {
    Session* session;
    uint32_t itt;
  };
  auto* request = new AbortRequest{this, command.task->itt};
  auto answered = [](iscsi_context* iscsi, int status, void* response, void* arg) {
    std::unique_ptr<AbortRequest> request(static_cast<AbortRequest*>(arg));
    if (status != SCSI_STATUS_GOOD) return;  // cancelled with the connection
    uint32_t code = *static_cast<uint32_t*>(response);
    auto& list = request->session->in_flight_;
    auto found = std::find_if(list.begin(), list.end(), [&](const auto& command) {
      return command->task->itt == request->itt;
    });
    if (found == list.end()) return;  // answered before the abort reached it
    if (code == ISCSI_TMR_FUNC_COMPLETE || code == ISCSI_TMR_TASK_DOES_NOT_EXIST) {
      (*found)->abort_confirmed = true;
      iscsi_scsi_cancel_task(iscsi, (*found)->task.get());
    } else {
      request->session->break_connection("ABORT TASK refused");
    }
  };
  if (iscsi_task_mgmt_abort_task_async(iscsi_, command.task.get(), answered, request) != 0) {
    delete request;
    break_connection("cannot send ABORT TASK: " + last_error());
  }
}

void Session::reset_lun(std::function<void(int)> done) {
  auto* owned = new std::function<void(int)>(std::move(done));
  auto answered = [](iscsi_context*, int status, void* response, void* arg) {
    std::unique_ptr<std::function<void(int)>> done(static_cast<std::function<void(int)>*>(arg));
    (*done)(status == SCSI_STATUS_GOOD ? static_cast<int>(*static_cast<uint32_t*>(response)) : -1);
  };
  // Not iscsi_task_mgmt_lun_reset_async(): that one forgets all commands before it sends.
  if (iscsi_task_mgmt_async(iscsi_, endpoint_.lun, ISCSI_TM_LUN_RESET, 0xffffffff, 0, answered,
                            owned) != 0) {
    break_connection("cannot send LUN RESET: " + last_error());
    loop_.call_at(Clock::now(), [owned] {
      (*owned)(-1);
      delete owned;
    });
  }
}

int Session::fd() const { return iscsi_ ? iscsi_get_fd(iscsi_) : -1; }

short Session::wanted_events() const { return static_cast<short>(iscsi_which_events(iscsi_)); }

void Session::service(short events) {
  if (!iscsi_) return;
  if (!is_doomed_ && events != 0 && iscsi_service(iscsi_, events) != 0) {
    break_connection(last_error());
  }
  // Sends what the callbacks queued now, not after another turn of the loop.
  if (!is_doomed_ && state_ == State::kReady && (iscsi_which_events(iscsi_) & POLLOUT) &&
      iscsi_service(iscsi_, POLLOUT) != 0) {
    break_connection(last_error());
  }
  if (is_doomed_) return tear_down();
  if (!buried_.empty() && iscsi_out_queue_length(iscsi_) == 0) buried_.clear();
}

std::string Session::last_error() const {
  std::string text = iscsi_ ? iscsi_get_error(iscsi_) : "";
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text.empty() ? "the target closed the connection" : text;
}

}  // namespace lunar::iscsi_load
