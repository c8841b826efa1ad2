// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

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
  // For what goes beyond send(): withdraw(), revoke(), peer(). Not to be closed by its users.
  msgr::Connection& connection() noexcept { return *connection_; }
  // What the server said when the session began; empty before that and after a reset. Nothing but
  // map requests may be sent until it is there.
  const std::optional<ServerHello>& hello() const noexcept { return hello_; }
  // False if the peer has proven to be another entity than this OSD. Without authentication names
  // are only claims, and any will do. REQUIRES: is_open().
  bool may_be(OsdId osd) const;
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

  // What the messenger's Dispatcher hears of this connection (found with ServerTable::of()), and
  // passes on before it acts on it itself.
  // A session began: it has a link, and its hello is still to come.
  void on_open() noexcept;
  // The server's hello has come, and is acceptable.
  void on_hello(const ServerHello& hello) noexcept { hello_ = hello; }
  // The session ended, or could not begin; the messenger tries again.
  void on_reset(std::error_code why) noexcept;
  // The link of the session was lost, or there is a new one.
  void on_link(bool is_up) noexcept { has_link_ = is_up; }

 private:
  ServerTable& table_;  // hears when we are gone
  const msgr::Address address_;
  msgr::ConnectionRef connection_;    // never null
  std::optional<ServerHello> hello_;  // only while is_open_
  std::error_code last_error_;        // success until something failed
  bool is_open_ = false;
  bool has_link_ = false;  // only while is_open_
};
// Never null unless it is said.
using ServerRef = std::shared_ptr<ServerConnection>;

}  // namespace lunar::objecter
