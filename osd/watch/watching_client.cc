// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/watching_client.h"

#include <algorithm>

#include "msgr/message.h"

namespace lunar::osd {

using std::chrono::milliseconds;

namespace {

// Counts until the peer's messenger has it, or its session has ended.
class ToldMessage final : public msgr::OutMessage {
 public:
  ToldMessage(msgr::MessageMeta meta, std::vector<std::byte> front, msgr::FairShares::Held share)
      : OutMessage(meta), front_(std::move(front)), share_(std::move(share)) {}
  void encode(msgr::Link&, uint64_t, msgr::EncodedMessage& out) override { out.front = front_; }
  std::size_t data_bytes() const noexcept override { return 0; }

 private:
  const std::vector<std::byte> front_;
  const msgr::FairShares::Held share_;
};

msgr::MessageMeta meta_of(objecter::MessageType type) {
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(type);
  return meta;
}

}  // namespace

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

msgr::Connection* WatchingClient::best_connection() const {
  if (connections_.empty()) return nullptr;
  const auto linked =
      std::find_if(connections_.rbegin(), connections_.rend(),
                   [](const msgr::ConnectionRef& each) { return each->has_link(); });
  return linked != connections_.rend() ? linked->get() : connections_.back().get();
}

void WatchingClient::send(objecter::MessageType type, std::vector<std::byte> front) const {
  if (msgr::Connection* const to = best_connection())
    to->send(std::make_unique<msgr::SimpleMessage>(meta_of(type), std::move(front)));
}

bool WatchingClient::try_tell(objecter::MessageType type, std::vector<std::byte> front) {
  msgr::Connection* const to = best_connection();
  const uint64_t bytes = sizeof(ToldMessage) + front.size();
  if (to == nullptr || !to->has_link() ||
      (unread_ != nullptr && !unread_->allows(*share_, bytes))) {
    is_behind_ = true;
    return false;
  }
  msgr::FairShares::Held share;
  if (unread_ != nullptr) share = unread_->hold(share_, bytes);
  to->send(std::make_unique<ToldMessage>(meta_of(type), std::move(front), std::move(share)));
  return true;
}

}  // namespace lunar::osd
