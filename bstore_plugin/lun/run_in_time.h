// SPDX-License-Identifier: GPL-2.0-only
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

namespace lunar::bstore_plugin {

// How many calls were given up and are still under way, in the whole process.
inline constexpr int kMaxAbandonedCalls = 8;
bool begin_bounded_call() noexcept;  // false: too many are given up; nothing was begun
void end_bounded_call() noexcept;

// What fn() returns, which runs on a thread of its own; nothing if it has not returned in time, if
// too many earlier calls never did, or if there is no thread to be had. For what may sleep in the
// kernel for ever and has no deadline of its own: opening a file on a server that does not answer.
// A call that is given up goes on, with all that `fn` holds. Blocks up to `timeout`.
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

}  // namespace lunar::bstore_plugin
