// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include "common/check.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"
#include "objecter/protocol/types.h"
#include "osd/store/post_done.h"

namespace lunar::osd {

// The calls of a store from their admission to their done, so that a shutdown can wait for them.
// A call is either a UniqueFunction, its done, or a unique_ptr to a struct with a member `done`
// that takes an error_code: on the path of an IO the state of the call carries its done.
// Loop-bound. Borrows the center.
class StoreCalls {
 public:
  explicit StoreCalls(msgr::EventCenter& center) : center_(center) {}
  ~StoreCalls() { LUNAR_CHECK(in_progress_ == 0, "a store was destroyed with calls in progress"); }
  StoreCalls(const StoreCalls&) = delete;
  StoreCalls& operator=(const StoreCalls&) = delete;

  // True: the call may start, and must end by finish(). False: it ends with `refusal`, or after
  // close() with kShutdown, and `call` was taken.
  template <typename Call>
  bool admit(std::error_code refusal, std::unique_ptr<Call>& call) {
    enter();
    if (is_closed_) refusal = objecter::OsdErrc::kShutdown;
    if (refusal) finish(std::move(call), refusal);
    return !refusal;
  }
  template <typename R>
  bool admit(std::error_code refusal, UniqueFunction<void(R)>& done) {
    enter();
    if (is_closed_) refusal = objecter::OsdErrc::kShutdown;
    if (!refusal) return true;
    if constexpr (std::is_same_v<R, std::error_code>) {
      finish(std::move(done), refusal);
    } else {
      finish(std::move(done), R(failure(refusal)));
    }
    return false;
  }

  // Ends an admitted call: its done runs on a later turn of the loop.
  template <typename Call>
  void finish(std::unique_ptr<Call> call, std::error_code error) {
    center_.post([this, call = std::move(call), error] {
      leave();
      call->done(error);
    });
  }
  template <typename R>
  void finish(UniqueFunction<void(R)> done, std::type_identity_t<R> result) {
    post_done(
        center_,
        [this, done = std::move(done)](R&& value) mutable {
          leave();
          done(std::move(value));
        },
        std::move(result));
  }

  // Work of the store's own, which close() waits for too. Each enter() has its leave().
  void enter() noexcept { ++in_progress_; }
  void leave() {
    LUNAR_CHECK(in_progress_ > 0, "a call of the store ended twice");
    if (--in_progress_ == 0 && on_drained_) std::exchange(on_drained_, nullptr)();
  }

  bool is_closed() const noexcept { return is_closed_; }

  // Refuses calls from now on. `on_drained` runs once, when none is in progress: at once if so
  // already. REQUIRES: called at most once.
  void close(UniqueFunction<void()> on_drained) {
    LUNAR_CHECK(!is_closed_, "a store is shut down once");
    is_closed_ = true;
    if (in_progress_ == 0) return on_drained();
    on_drained_ = std::move(on_drained);
  }

 private:
  msgr::EventCenter& center_;
  uint64_t in_progress_ = 0;  // entered and not left, refused ones too
  bool is_closed_ = false;
  UniqueFunction<void()> on_drained_;  // empty unless closed with calls in progress
};

}  // namespace lunar::osd
