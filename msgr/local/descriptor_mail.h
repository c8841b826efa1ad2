// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <system_error>
#include <vector>

#include "common/file.h"
#include "msgr/local/sealed_memory.h"
#include "msgr/local/shared_arena.h"

namespace lunar::msgr::local {

// Whether the kernel lets a peer send descriptors to this Unix socket (SO_PASSRIGHTS); before Linux
// 6.16 it always does. What is accepted begins as its listener is.
void let_descriptors_pass(int socket, bool does_pass) noexcept;

inline constexpr uint32_t kMaxRegions = 64;  // of one end of a link
// Descriptors with one sendmsg(): all that a link may ever owe, so that none comes later than the
// bytes of its turn. The kernel takes 253 (SCM_MAX_FD).
inline constexpr std::size_t kMaxPerMessage = 1 + kMaxRegions;
static_assert(kMaxPerMessage <= 253);

// The memory that one link hands over and gets: first the key table of each end, then regions.
// They have no frame of their own: descriptors go with the next bytes, so they are there before
// the frame that has a key to them. Loop-bound. Shared by the link and its stream.
class DescriptorMail {
 public:
  // --- to send
  void post(std::shared_ptr<const SharedRegion> memory) { outgoing_.push_back(std::move(memory)); }
  bool has_outgoing() const noexcept { return !outgoing_.empty(); }
  // All of them; they stay until they are sent().
  std::size_t next(std::span<int, kMaxPerMessage> fds) const noexcept;
  void sent(std::size_t count);

  // --- received
  // The socket that they come by; -1: none any more. Borrowed.
  void set_socket(int socket) noexcept { socket_ = socket; }
  // None is taken before the link belongs to a session: nobody has proven who they are. Until then
  // the kernel refuses them to the sender, where it can.
  void open() noexcept;
  bool is_open() const noexcept { return is_open_; }
  // Maps what came, in order, and closes it. An error is the end of the link: too many, or no
  // memory that could be used safely.
  std::error_code take(std::span<UniqueFd> fds);
  // Null, empty: it has not come.
  const SharedMapping* table() const noexcept { return table_.get(); }
  // Numbered from 1.
  Bytes region(uint32_t number) const noexcept {
    return number == 0 || number > regions_.size() ? Bytes() : regions_[number - 1]->bytes();
  }

 private:
  std::deque<std::shared_ptr<const SharedRegion>> outgoing_;
  int socket_ = -1;
  bool is_open_ = false;
  std::unique_ptr<SharedMapping> table_;
  std::vector<std::unique_ptr<SharedMapping>> regions_;
};

}  // namespace lunar::msgr::local
