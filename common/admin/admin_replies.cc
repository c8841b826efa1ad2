// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/admin/admin_replies.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "common/admin_socket.h"
#include "common/check.h"

namespace lunar {
namespace internal {

void AdminReplies::put(uint64_t client, std::string text) {
  MutexLock lock(mutex_);
  if (is_stopped_) return;
  answers_.push_back({client, std::move(text)});
  wake();
}

std::vector<AdminReplies::Answer> AdminReplies::take() {
  uint64_t ignored = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &ignored, sizeof ignored);
  MutexLock lock(mutex_);
  return std::exchange(answers_, {});
}

void AdminReplies::stop() {
  MutexLock lock(mutex_);
  is_stopped_ = true;
  wake();
}

bool AdminReplies::is_stopped() {
  MutexLock lock(mutex_);
  return is_stopped_;
}

void AdminReplies::wake() noexcept {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

std::string admin_error_text(const std::error_code& code, const std::string& message) {
  const nlohmann::ordered_json json = {
      {"error",
       {{"code", code.value()}, {"category", code.category().name()}, {"message", message}}}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace internal

AdminReply::AdminReply(std::shared_ptr<internal::AdminReplies> replies, uint64_t client) noexcept
    : replies_(std::move(replies)), client_(client) {}

AdminReply::AdminReply(AdminReply&& other) noexcept = default;

AdminReply& AdminReply::operator=(AdminReply&& other) noexcept {
  if (this != &other) {
    abandon();
    replies_ = std::move(other.replies_);
    client_ = other.client_;
  }
  return *this;
}

AdminReply::~AdminReply() { abandon(); }

void AdminReply::abandon() {
  if (replies_)
    fail(std::make_error_code(std::errc::operation_canceled), "the command was dropped");
}

void AdminReply::send(std::string text) {
  LUNAR_CHECK(replies_ != nullptr, "a command is answered twice");
  std::exchange(replies_, nullptr)->put(client_, std::move(text));
}

void AdminReply::fail(std::error_code code, const std::string& message) {
  send(internal::admin_error_text(code, message));
}

}  // namespace lunar
