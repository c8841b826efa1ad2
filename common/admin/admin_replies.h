// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/file.h"
#include "common/mutex.h"

namespace lunar::internal {

// Answers on their way from any thread to the admin socket's. Thread-safe. Shared by the socket and
// every AdminReply, so that a late one finds it.
class AdminReplies {
 public:
  struct Answer {
    uint64_t client;
    std::string text;
  };

  explicit AdminReplies(UniqueFd wake) noexcept : wake_(std::move(wake)) {}

  void put(uint64_t client, std::string text);
  std::vector<Answer> take();
  // An eventfd, readable when there is something to take, or after stop().
  int fd() const noexcept { return wake_.get(); }
  void stop();
  bool is_stopped();

 private:
  void wake() noexcept;
  const UniqueFd wake_;
  Mutex mutex_;
  std::vector<Answer> answers_ GUARDED_BY(mutex_);
  bool is_stopped_ GUARDED_BY(mutex_) = false;
};

// {"error": {"code": "…", "message": "…"}}: how a failed command is answered.
std::string admin_error_text(const std::error_code& code, const std::string& message);

}  // namespace lunar::internal
