// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/watching_client.h"

#include <algorithm>

namespace lunar::osd {

using std::chrono::milliseconds;

void WatchingClient::attach(msgr::Connection& connection) {
  connections_.push_back(connection.shared_from_this());
  address_ = connection.peer().address;
  is_connected_ = true;
}

void WatchingClient::on_link(const msgr::Connection& connection, bool is_up, TimePoint now) {
  if (!is_up) return update_connected(now);
  is_connected_ = true;
  address_ = connection.peer().address;
}

void WatchingClient::detach(const msgr::Connection& connection, TimePoint now) {
  std::erase_if(connections_,
                [&](const msgr::ConnectionRef& each) { return each.get() == &connection; });
  update_connected(now);
}

void WatchingClient::update_connected(TimePoint now) {
  const bool is_connected =
      std::any_of(connections_.begin(), connections_.end(),
                  [](const msgr::ConnectionRef& each) { return each->has_link(); });
  if (is_connected_ && !is_connected) disconnected_ = now;
  is_connected_ = is_connected;
}

milliseconds WatchingClient::disconnected_for(TimePoint now) const {
  if (is_connected_) return milliseconds(0);
  return std::chrono::floor<milliseconds>(now - disconnected_);
}

void WatchingClient::send(objecter::MessageType type, std::vector<std::byte> front) const {
  if (connections_.empty()) return;
  const auto linked =
      std::find_if(connections_.rbegin(), connections_.rend(),
                   [](const msgr::ConnectionRef& each) { return each->has_link(); });
  msgr::Connection& to = linked != connections_.rend() ? **linked : *connections_.back();
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(type);
  to.send(std::make_unique<msgr::SimpleMessage>(meta, std::move(front)));
}

}  // namespace lunar::osd
