// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "msgr/messenger.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_op.h"

namespace lunar::objecter {

class ServerTable;

// One server address that we are connected to, whoever answers there, for as long as somebody needs
// it: the session of an OSD, the hunt for a map, the subscription. It reconnects by itself, with
// the messenger's back-off, until it is destroyed. Loop-bound to the messenger's center. Shared by
// its users; the last one to let go of it closes the connection, after which the dispatcher hears
// nothing of it any more.
class ServerConnection {
 public:
  // For ServerTable::get(): connects at once. Borrows the table.
  ServerConnection(ServerTable& table, const msgr::Address& address);
  ~ServerConnection();
  ServerConnection(const ServerConnection&) = delete;
  ServerConnection& operator=(const ServerConnection&) = delete;

  const msgr::Address& address() const noexcept { return address_; }
  msgr::Connection& connection() noexcept { return *connection_; }
  // What the server said when the session began; empty before that and after a reset. Nothing but
  // map requests may be sent until it is there.
  const std::optional<ServerHello>& hello() const noexcept { return hello_; }
  // A session is open; it outlives its links.
  bool is_open() const noexcept { return is_open_; }
  // The session has a link just now, so that what is sent leaves at once.
  bool has_link() const noexcept { return has_link_; }
  // Of the last session or try that failed; success if none did.
  std::error_code last_error() const noexcept { return last_error_; }

  // Sends a small message without data; there is an encode() for each struct of control.h. Kept and
  // sent later if there is no link. Lost, without a word, if the session is reset.
  template <typename T>
  void send(MessageType type, const T& content,
            msgr::Priority priority = msgr::Priority::kDefault) {
    std::vector<std::byte> front;
    encode(content, front);
    send_front(type, std::move(front), 0, priority);
  }
  // As send(), for a front that is encoded already. `tid` 0 is none.
  void send_front(MessageType type, std::vector<std::byte> front, Tid tid = 0,
                  msgr::Priority priority = msgr::Priority::kDefault);

  // What the owner's Dispatcher hears of this connection, and passes on.
  void on_open() noexcept;
  void on_hello(const ServerHello& hello) noexcept { hello_ = hello; }
  void on_reset(std::error_code why) noexcept;
  void on_link(bool is_up) noexcept { has_link_ = is_up; }

 private:
  ServerTable& table_;
  const msgr::Address address_;
  msgr::ConnectionRef connection_;    // never null
  std::optional<ServerHello> hello_;  // only while is_open_
  std::error_code last_error_;
  bool is_open_ = false;
  bool has_link_ = false;  // only while is_open_
};
using ServerRef = std::shared_ptr<ServerConnection>;

// The connections to servers, by address: two users of one address share one connection.
// Loop-bound. Borrows the messenger, and each connection from its users: it must outlive them.
class ServerTable {
 public:
  // Once, before the first get().
  void set_messenger(msgr::Messenger* messenger) noexcept { messenger_ = messenger; }
  // The one that exists, or a new one, which connects at once. Never null.
  // REQUIRES: the messenger is set.
  ServerRef get(const msgr::Address& address);
  // Whose connection this is; null if it is none of ours, or one that was let go of.
  // REQUIRES: nobody else sets contexts on connections of this messenger.
  ServerRef of(msgr::Connection& connection) noexcept;
  // Calls fn(ServerConnection&) for each that somebody holds, in the order of addresses.
  template <typename Fn>
  void for_each(Fn&& fn) const {
    for (const auto& [address, weak] : servers_) {
      if (const ServerRef server = weak.lock()) fn(*server);
    }
  }

 private:
  friend class ServerConnection;
  msgr::Messenger* messenger_ = nullptr;
  std::map<msgr::Address, std::weak_ptr<ServerConnection>> servers_;  // none is expired
};

}  // namespace lunar::objecter
