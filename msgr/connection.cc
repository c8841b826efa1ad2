// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/connection.h"

#include <atomic>

namespace lunar::msgr {
namespace {

uint64_t next_connection_id() noexcept {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

Connection::Connection(EventCenter& center, const Address& target) noexcept
    : center_(center), id_(next_connection_id()), target_(target) {}

}  // namespace lunar::msgr
