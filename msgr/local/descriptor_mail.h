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

inline constexpr uint32_t kMaxRegions = 64;       // of one end of a link
inline constexpr std::size_t kMaxPerMessage = 8;  // descriptors with one sendmsg()

// The memory that one link hands over and gets: first the key table of each end, then regions.
// They have no frame of their own: descriptors go with the next bytes, so they are there before
// the frame that has a key to them. Loop-bound. Shared by the link and its stream.
class DescriptorMail {
 public:
  // --- to send
  void post(std::shared_ptr<const SharedRegion> memory) { outgoing_.push_back(std::move(memory)); }
  bool has_outgoing() const noexcept { return !outgoing_.empty(); }
  // As many as fit; they stay until they are sent().
  std::size_t next(std::span<int, kMaxPerMessage> fds) const noexcept;
  void sent(std::size_t count);

  // --- received
  // None is taken before the link belongs to a session: nobody has proven who they are.
  void open() noexcept { is_open_ = true; }
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
  bool is_open_ = false;
  std::unique_ptr<SharedMapping> table_;
  std::vector<std::unique_ptr<SharedMapping>> regions_;
};

}  // namespace lunar::msgr::local
