// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <system_error>

#include "msgr/messenger.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_op.h"

namespace lunar::objecter {

class ServerTable;

// One server address we are connected to, whoever answers there, for as long as somebody needs it:
// the session of an OSD, the hunt for a map, the subscription.
// Loop-bound. Shared by its users; the last one closes the connection.
class ServerConnection {
 public:
  ServerConnection(ServerTable& table, const msgr::Address& address);  // for ServerTable::get()
  ~ServerConnection();
  ServerConnection(const ServerConnection&) = delete;
  ServerConnection& operator=(const ServerConnection&) = delete;

  const msgr::Address& address() const noexcept { return address_; }
  msgr::Connection& connection() noexcept { return *connection_; }
  // What the server said when the session began. Until then nothing but map requests may be sent.
  const std::optional<ServerHello>& hello() const noexcept { return hello_; }
  bool is_open() const noexcept { return is_open_; }
  bool has_link() const noexcept { return has_link_; }
  // Of the last session or try that failed; success if none did.
  std::error_code last_error() const noexcept { return last_error_; }

  // A small message without data.
  template <typename T>
  void send(MessageType type, const T& content,
            msgr::Priority priority = msgr::Priority::kDefault) {
    std::vector<std::byte> front;
    encode(content, front);
    send_front(type, std::move(front), 0, priority);
  }
  void send_front(MessageType type, std::vector<std::byte> front, Tid tid = 0,
                  msgr::Priority priority = msgr::Priority::kDefault);

  // From the dispatcher.
  void on_open() noexcept;
  void on_hello(const ServerHello& hello) noexcept { hello_ = hello; }
  void on_reset(std::error_code why) noexcept;
  void on_link(bool up) noexcept { has_link_ = up; }

 private:
  ServerTable& table_;
  const msgr::Address address_;
  msgr::ConnectionRef connection_;
  std::optional<ServerHello> hello_;
  std::error_code last_error_;
  bool is_open_ = false;
  bool has_link_ = false;
};
using ServerRef = std::shared_ptr<ServerConnection>;

// The connections by address. Loop-bound; borrows the messenger.
class ServerTable {
 public:
  void set_messenger(msgr::Messenger* messenger) noexcept { messenger_ = messenger; }
  // The one that exists, or a new one. REQUIRES: the messenger is set.
  ServerRef get(const msgr::Address& address);
  // Whose connection this is; null for one that was given up.
  ServerRef of(msgr::Connection& connection) noexcept;
  template <typename Fn>
  void for_each(Fn&& fn) const {
    for (const auto& [address, weak] : servers_) {
      if (const ServerRef server = weak.lock()) fn(*server);
    }
  }

 private:
  friend class ServerConnection;
  msgr::Messenger* messenger_ = nullptr;
  std::map<msgr::Address, std::weak_ptr<ServerConnection>> servers_;
};

}  // namespace lunar::objecter
