// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace lunar::gateway {

// What an open of an image for writing does about others that have it open. The lock is held by a
// start of a gateway: several opens of one Client do not exclude each other.
enum class OpenLock : uint8_t {
  kExclusive,  // nobody else writes as long as it is open; kBusy if somebody does
  kTakeover,   // the same, but whoever has it is fenced and loses it at once
  kShared,     // beside others that share it: their initiators coordinate themselves
};
// "exclusive", "takeover", "shared"; nothing for another word.
std::optional<OpenLock> parse_open_lock(std::string_view word) noexcept;

struct OpenOptions {
  // Takes no lock and is in nobody's way but that of `rm`; IOs that would change it end with
  // kReadOnly.
  bool read_only = false;
  OpenLock lock = OpenLock::kExclusive;
  // How long to wait for somebody alive to close it. A dead one is not waited for longer than
  // lunar_lock_timeout in any case: it is fenced, and its lock taken over.
  std::chrono::nanoseconds lock_wait{0};
  // Opens what create_image() made with `is_import`, and nothing else: to be filled, and made whole
  // by finish_import(). Others are refused meanwhile, readers too.
  bool is_import = false;
  // Becomes true when nobody wants the image any more, though it is being opened: then no lock is
  // taken and nobody fenced. Null: it is wanted.
  std::shared_ptr<const bool> is_unwanted = nullptr;
};

}  // namespace lunar::gateway
