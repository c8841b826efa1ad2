// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <coroutine>
#include <utility>

#include "common/check.h"

namespace lunar {

// The place where one coroutine at a time waits for something that several awaiters share: an
// inbox, a sleeper. Loop-bound. Owns nothing: the coroutine is forgotten when its frame is
// destroyed, which its Wait sees to.
class CoroutineSlot {
 public:
  // In the awaiter, and so in the coroutine's frame: on while the coroutine waits in the slot.
  class Wait {
   public:
    explicit Wait(CoroutineSlot& slot) noexcept : slot_(slot) {}
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() {
      if (is_on_) slot_.coroutine_ = {};
    }
    bool is_on() const noexcept { return is_on_; }
    // REQUIRES: no other coroutine waits in the slot.
    void begin(std::coroutine_handle<> coroutine) {
      LUNAR_CHECK(!slot_.coroutine_, "one coroutine at a time awaits this");
      slot_.coroutine_ = coroutine;
      slot_.wait_ = this;
      is_on_ = true;
    }

   private:
    friend class CoroutineSlot;
    CoroutineSlot& slot_;
    bool is_on_ = false;
  };

  CoroutineSlot() = default;
  CoroutineSlot(const CoroutineSlot&) = delete;
  CoroutineSlot& operator=(const CoroutineSlot&) = delete;
  ~CoroutineSlot() { LUNAR_CHECK(!coroutine_, "destroyed while a coroutine awaits it"); }

  bool is_waited_in() const noexcept { return static_cast<bool>(coroutine_); }
  // Resumes the coroutine, if one waits, inside the call; the slot may be destroyed by it.
  void resume() {
    if (!coroutine_) return;
    wait_->is_on_ = false;
    std::exchange(coroutine_, {}).resume();
  }

 private:
  std::coroutine_handle<> coroutine_;
  Wait* wait_ = nullptr;  // of coroutine_, while that is set
};

}  // namespace lunar
