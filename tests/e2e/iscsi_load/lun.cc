// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/lun.h"

#include <unistd.h>

#include <algorithm>
#include <random>
#include <utility>

namespace lunar::iscsi_load {
namespace {

constexpr auto kReconnectDelay = std::chrono::milliseconds(250);
constexpr auto kRetryDelay = std::chrono::milliseconds(100);

// As a host does: repeats a command that was refused for now, not one that was refused for good.
bool is_worth_retrying(const Completion& completion) {
  if (completion.end != End::kAnswered) return true;
  switch (completion.status) {
    case kBusy:
    case kTaskSetFull:
    case kTaskAborted:
      return true;
    case kCheckCondition: {
      uint8_t key = completion.sense.key;
      return key == kNotReady || key == kUnitAttention || key == kAbortedCommand;
    }
    default:
      return false;
  }
}

// True if the target may have carried the command out, in part or in whole.
bool is_outcome_unknown(const Completion& completion) {
  if (completion.is_good()) return false;
  if (completion.end != End::kAnswered) return true;
  bool is_refused = completion.status == kBusy || completion.status == kTaskSetFull ||
                    completion.status == kReservationConflict;
  return !is_refused && !completion.is_sense(kUnitAttention) &&
         !completion.is_sense(kIllegalRequest) && !completion.is_sense(kMiscompare) &&
         !completion.is_sense(kDataProtect);
}

}  // namespace

Lun::Lun(PollLoop& loop, LunOptions options) : loop_(loop), options_(std::move(options)) {
  uint32_t first_isid = std::random_device{}();  // two runs at once must not reinstate each other
  for (uint32_t i = 0; i < std::max(1u, options_.num_connections); ++i) {
    sessions_.push_back(
        std::make_unique<Session>(loop_, options_.endpoint, first_isid + i, options_.session));
  }
}

void Lun::open(std::function<void(std::string)> done) {
  open_done_ = std::move(done);
  auto give_up = Clock::now() + options_.retry;
  for (auto& session : sessions_) connect(*session, give_up);
}

void Lun::connect(Session& session, Clock::time_point give_up) {
  session.on_broken([this, &session] {
    if (is_closing_) return;
    if (options_.retry.count() == 0) return fail_waiting();
    connect(session, Clock::now() + options_.retry);
  });
  session.connect([this, &session, give_up](const std::string& problem) {
    connected(session, problem, give_up);
  });
}

void Lun::connected(Session& session, const std::string& problem, Clock::time_point give_up) {
  if (is_closing_) return;
  if (!problem.empty()) {
    if (Clock::now() < give_up) {
      auto again = [this, &session, give_up] {
        if (!is_closing_) connect(session, give_up);
      };
      return loop_.call_at(Clock::now() + kReconnectDelay, again);
    }
    has_given_up_ = true;
    if (auto done = std::exchange(open_done_, nullptr)) return done(problem);
    return fail_waiting();
  }
  if (recorder_) recorder_->logged_in(&session);
  if (is_open_) return send_waiting();
  bool all_ready = std::all_of(sessions_.begin(), sessions_.end(),
                               [](const auto& each) { return each->is_ready(); });
  if (all_ready) probe();
}

void Lun::probe() {
  is_open_ = true;
  Command command = read_capacity16();
  submit(command, [this, command](const FinalCompletion& result) {
    if (!result.last.is_good() || result.last.transferred < 16) {
      return std::exchange(open_done_, nullptr)("READ CAPACITY(16): " + result.last.to_string());
    }
    const std::byte* reply = command.data->data();
    geometry_.num_blocks = get_be(reply, 8) + 1;
    geometry_.block_bytes = static_cast<uint32_t>(get_be(reply + 8, 4));
    auto provisioning = static_cast<uint8_t>(reply[14]);
    geometry_.is_thin = provisioning & 0x80;
    geometry_.unmapped_reads_zero = provisioning & 0x40;
    if (geometry_.block_bytes < 512 || geometry_.block_bytes % 512 != 0 ||
        geometry_.num_blocks == 0) {
      return std::exchange(open_done_, nullptr)("the LUN reports no usable size");
    }
    probe_limits([this] { probe_provisioning(); });
  });
}

void Lun::probe_limits(std::function<void()> then) {
  constexpr uint8_t kBlockLimitsPage = 0xb0;
  Command command = inquiry(kBlockLimitsPage, 64);
  submit(command, [this, command, then](const FinalCompletion& result) {
    if (result.last.is_good() && result.last.transferred >= 12) {
      const std::byte* page = command.data->data();
      geometry_.max_compare_and_write_blocks = static_cast<uint8_t>(page[5]);
      geometry_.max_transfer_blocks = static_cast<uint32_t>(get_be(page + 8, 4));
      if (result.last.transferred >= 44) {
        geometry_.max_unmap_blocks = static_cast<uint32_t>(get_be(page + 20, 4));
        geometry_.max_write_same_blocks = get_be(page + 36, 8);
      }
    }
    then();
  });
}

void Lun::probe_provisioning() {
  constexpr uint8_t kProvisioningPage = 0xb2;
  Command command = inquiry(kProvisioningPage, 64);
  submit(command, [this, command](const FinalCompletion& result) {
    if (result.last.is_good() && result.last.transferred >= 6) {
      auto flags = static_cast<uint8_t>(command.data->data()[5]);
      geometry_.has_unmap = geometry_.is_thin && (flags & 0x80);
      geometry_.has_write_same_unmap = geometry_.is_thin && (flags & 0x40);
    }
    std::exchange(open_done_, nullptr)("");
  });
}

void Lun::close(std::function<void()> done) {
  is_closing_ = true;
  num_closing_ = sessions_.size();
  for (auto& session : sessions_) {
    session->logout([this, done] {
      if (--num_closing_ == 0) done();
    });
  }
}

void Lun::submit(Command command, Done done, std::shared_ptr<const test::HistoryOp> recorded) {
  auto pending = std::make_shared<Pending>();
  pending->command = std::move(command);
  pending->done = std::move(done);
  if (recorder_) pending->recorded = std::move(recorded);
  dispatch(pending);
}

void Lun::dispatch(const PendingPtr& pending) {
  Session* session = next_ready();
  if (!session) {
    waiting_.push_back(pending);
    if (options_.retry.count() == 0 || has_given_up_) {
      loop_.call_at(Clock::now(), [this] { fail_waiting(); });
    }
    return;
  }
  const Recorder::Handle handle = pending->recorded ? recorder_->begin(*pending->recorded) : 0;
  session->submit(pending->command, [this, pending, session, handle](Completion completion) {
    if (pending->recorded) {
      recorder_->end(handle, *pending->recorded, pending->command, completion, session);
    }
    attempt_done(pending, std::move(completion));
  });
}

bool Lun::reset() {
  Session* session = next_ready();
  if (session) session->reset_lun([](int) {});
  return session != nullptr;
}

Session* Lun::next_ready() {
  for (size_t i = 0; i < sessions_.size(); ++i) {
    Session& session = *sessions_[next_session_++ % sessions_.size()];
    if (session.is_ready()) return &session;
  }
  return nullptr;
}

void Lun::attempt_done(const PendingPtr& pending, Completion completion) {
  if (is_outcome_unknown(completion)) pending->has_unknown_attempt = true;
  auto now = Clock::now();
  if (!pending->has_failed) {
    pending->has_failed = true;
    pending->give_up = now + options_.retry;
  }
  // A unit attention is not a failure of the command: the host sends the command again.
  bool is_attention = completion.is_sense(kUnitAttention);
  bool again = !completion.is_good() && is_worth_retrying(completion) &&
               (is_attention || now < pending->give_up);
  if (!again) return pending->done({std::move(completion), pending->has_unknown_attempt});
  ++retries_[completion.to_string()];
  if (is_attention || completion.end != End::kAnswered) return dispatch(pending);
  loop_.call_at(now + kRetryDelay, [this, pending] { dispatch(pending); });
}

void Lun::send_waiting() {
  auto waiting = std::exchange(waiting_, {});
  for (auto& pending : waiting) dispatch(pending);
}

void Lun::fail_waiting() {
  bool any_ready = std::any_of(sessions_.begin(), sessions_.end(),
                               [](const auto& session) { return session->is_ready(); });
  if (any_ready) return send_waiting();
  auto waiting = std::exchange(waiting_, {});
  for (auto& pending : waiting) pending->done({Completion{}, pending->has_unknown_attempt});
}

}  // namespace lunar::iscsi_load
