// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/connect_attempt.h"

#include <utility>

#include "msgr/errors.h"

namespace lunar::msgr {

void ConnectAttempt::await_suspend(std::coroutine_handle<> coroutine) {
  waiter_ = coroutine;
  timer_ = center_.run_after(timeout_, [this] {
    timer_ = TimerId::kNone;
    abort(make_error_code(MsgrErrc::kTimedOut));
  });
  pending_ = stack_.connect(
      center_, peer_, [this](Result<std::unique_ptr<Link>> result) { finish(std::move(result)); });
}

Result<std::unique_ptr<Link>> ConnectAttempt::await_resume() {
  pending_.reset();
  return std::move(*result_);
}

void ConnectAttempt::abort(std::error_code why) {
  if (result_) return;
  pending_.reset();
  finish(failure(why));
}

void ConnectAttempt::finish(Result<std::unique_ptr<Link>> result) {
  result_.emplace(std::move(result));
  center_.cancel(std::exchange(timer_, TimerId::kNone));
  center_.post([this] { waiter_.resume(); });
}

}  // namespace lunar::msgr
