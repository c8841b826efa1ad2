// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/tcp/fast_transport.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace lunar::bstore_plugin {

FastTransport::~FastTransport() = default;

FastConnection& FastTransport::adopt(int fd, const void* handle, std::unique_ptr<TgtConnection> tgt,
                                     FastConnection::Wanted wanted, const std::string& initiator) {
  const auto index = static_cast<std::size_t>(fd);
  if (index >= by_fd_.size()) by_fd_.resize(index + 1);
  if (by_fd_[index] != nullptr) {  // of a connection that tgt has released without closing it
    forget(by_fd_[index]->connection);
  }
  TgtConnection& side = *tgt;
  by_fd_[index].reset(new Driven{
      handle,
      std::move(tgt),
      {fd, side, *this, buffers_, blocks_, counters_, wanted},
  });
  by_fd_[index]->connection.share_writes(write_shares_, initiator);
  counters_.connections.inc(1);
  schedule(by_fd_[index]->connection);
  return by_fd_[index]->connection;
}

void FastTransport::forget(FastConnection& connection) {
  connection.forget();
  forgotten_.push_back(std::move(by_fd_[static_cast<std::size_t>(connection.fd())]));
  counters_.connections.dec(1);
}

void FastTransport::turn() {
  destroy_forgotten();
  Schedule now;
  now.swap(scheduled_);
  while (!now.empty()) {
    FastConnection& connection = now.front();
    now.pop_front();
    connection.turn();
  }
  counters_.kept_bytes.set(buffers_.kept_bytes());
}

void FastTransport::tick() {
  is_ticking_ = false;
  bool is_needed = false;
  for (std::size_t i = 0; i < by_fd_.size(); ++i) {
    if (by_fd_[i] == nullptr || by_fd_[i]->grace_ticks == 0) continue;
    if (--by_fd_[i]->grace_ticks == 0) {
      by_fd_[i]->connection.give_up();
    } else {
      is_needed = true;
    }
  }
  if (is_needed) {
    is_ticking_ = true;
    loop_.schedule_tick();
  }
}

void FastTransport::schedule(FastConnection& connection) {
  if (connection.is_forgotten() || connection.hook.is_linked()) return;
  if (scheduled_.empty()) loop_.schedule_turn();
  scheduled_.push_back(connection);
}

void FastTransport::start_grace(FastConnection& connection) {
  by_fd_[static_cast<std::size_t>(connection.fd())]->grace_ticks = kGraceTicks;
  if (is_ticking_) return;
  is_ticking_ = true;
  loop_.schedule_tick();
}

// Not while a connection is being called: only from the turn's beginning.
void FastTransport::destroy_forgotten() {
  std::erase_if(forgotten_, [](const auto& driven) { return !driven->connection.has_buffers(); });
}

}  // namespace lunar::bstore_plugin
