// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "common/signals.h"

namespace lunar {

// The most calls that may be given up and still be under way, in the whole process: each has a
// thread. Beyond it nothing is begun, until one of them returns after all.
inline constexpr int kMaxAbandonedCalls = 8;
// For run_in_time() alone; any thread. Every call that was begun is ended, once, by the thread that
// made it. False: there are too many, and nothing was begun.
bool begin_bounded_call() noexcept;
void end_bounded_call() noexcept;

// What fn() returns, which runs on a thread of its own; nothing if it has not returned in time, if
// too many earlier calls never did, or if there is no thread to be had. For what may sleep in the
// kernel for ever and has no deadline of its own: opening a file on a server that does not answer.
//
// `fn` is moved to that thread, which blocks all signals and is named lunar-file, and is destroyed
// there. A call that is given up goes on, with all that `fn` holds: so it refers to nothing that
// the caller may destroy, and its result is dropped. Blocks up to `timeout`: not for an event loop
// that has somebody waiting.
// Any thread.
template <typename T, typename Fn>
std::optional<T> run_in_time(Fn fn, std::chrono::milliseconds timeout) {
  struct Call {
    std::mutex mutex;
    std::condition_variable ended;
    std::optional<T> result;
  };
  if (!begin_bounded_call()) return std::nullopt;
  const auto call = std::make_shared<Call>();
  const BlockAllSignals blocked;
  try {
    std::thread([call, fn = std::move(fn)]() mutable {
      name_this_thread("lunar-file");
      T result = fn();
      const std::lock_guard lock(call->mutex);
      call->result.emplace(std::move(result));
      call->ended.notify_all();
      end_bounded_call();
    }).detach();
  } catch (const std::system_error&) {  // no thread to be had now
    end_bounded_call();
    return std::nullopt;
  }
  std::unique_lock lock(call->mutex);
  call->ended.wait_for(lock, timeout, [&] { return call->result.has_value(); });
  return std::move(call->result);
}

}  // namespace lunar
