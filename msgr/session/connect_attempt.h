// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <coroutine>
#include <memory>
#include <optional>

#include "msgr/event_center.h"
#include "msgr/net/network_stack.h"

namespace lunar::msgr {

// One try to reach a peer, to be awaited once:
//   ConnectAttempt attempt(…);
//   Result<std::unique_ptr<Link>> link = co_await attempt;
// Loop-bound. Resumes from the loop itself, never inside another call.
class ConnectAttempt {
 public:
  ConnectAttempt(NetworkStack& stack, EventCenter& center, const Address& peer,
                 std::chrono::nanoseconds timeout) noexcept
      : stack_(stack), center_(center), peer_(peer), timeout_(timeout) {}
  ConnectAttempt(const ConnectAttempt&) = delete;
  ConnectAttempt& operator=(const ConnectAttempt&) = delete;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine);
  Result<std::unique_ptr<Link>> await_resume();

  // Gives it up, unless there is a result already.
  void abort(std::error_code why);

 private:
  void finish(Result<std::unique_ptr<Link>> result);

  NetworkStack& stack_;
  EventCenter& center_;
  const Address peer_;
  const std::chrono::nanoseconds timeout_;
  TimerId timer_ = TimerId::kNone;
  std::unique_ptr<PendingConnect> pending_;
  std::optional<Result<std::unique_ptr<Link>>> result_;
  std::coroutine_handle<> waiter_;
};

}  // namespace lunar::msgr
