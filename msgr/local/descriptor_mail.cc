// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/local/descriptor_mail.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "msgr/local/key_table.h"
#include "msgr/memory/buddy.h"

namespace lunar::msgr::local {
namespace {

constexpr int kPassRights = 83;  // SO_PASSRIGHTS, which not all headers have

}  // namespace

void let_descriptors_pass(int socket, bool does_pass) noexcept {
  const int value = does_pass ? 1 : 0;
  setsockopt(socket, SOL_SOCKET, kPassRights, &value, sizeof value);
}

void DescriptorMail::open() noexcept {
  if (is_open_) return;
  is_open_ = true;
  if (socket_ >= 0) let_descriptors_pass(socket_, true);
}

std::size_t DescriptorMail::next(std::span<int, kMaxPerMessage> fds) const noexcept {
  const std::size_t count = std::min(fds.size(), outgoing_.size());
  for (std::size_t i = 0; i < count; ++i) fds[i] = outgoing_[i]->fd.get();
  return count;
}

void DescriptorMail::sent(std::size_t count) {
  outgoing_.erase(outgoing_.begin(), outgoing_.begin() + static_cast<std::ptrdiff_t>(count));
}

std::error_code DescriptorMail::take(std::span<UniqueFd> fds) {
  for (UniqueFd& fd : fds) {
    const bool is_table = table_ == nullptr;
    if (!is_open_ || regions_.size() >= kMaxRegions) {
      return std::make_error_code(std::errc::too_many_files_open);
    }
    auto mapped = SharedMapping::map(fd, is_table ? kKeyTableBytes : Buddy::kLargest);
    if (!mapped) return mapped.error();
    fd.reset();
    if (!is_table) {
      regions_.push_back(std::move(*mapped));
    } else if ((*mapped)->bytes().size() == kKeyTableBytes) {
      table_ = std::move(*mapped);
    } else {
      return std::make_error_code(std::errc::invalid_argument);
    }
  }
  return {};
}

}  // namespace lunar::msgr::local
