// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "msgr/messenger.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/osd_op.h"

namespace lunar::osd {

// What a server that is not the authority has to do with it: finds it by any server of the cluster,
// boots with it, and takes its maps.
// Loop-bound. Borrows the messenger; owns the connection.
class AuthorityLink {
 public:
  struct Host {
    virtual objecter::OsdBoot make_boot() = 0;
    virtual const objecter::OsdMapRef& map() const noexcept = 0;  // null before the first
    virtual void on_newer_map(objecter::OsdMap map) = 0;
    // The authority has us as up in its map of this epoch.
    virtual void on_booted(objecter::Epoch epoch) = 0;
    // It will never have us, and why.
    virtual void on_refused(objecter::OsdErrc error, std::string sentence) = 0;

   protected:
    ~Host() = default;
  };

  AuthorityLink(msgr::EventCenter& center, msgr::Messenger& messenger, Host& host,
                std::vector<msgr::Address> bootstrap, std::chrono::nanoseconds retry_interval);
  ~AuthorityLink();

  void start();
  void stop();
  bool is_booted() const noexcept { return booted_; }
  bool is_ours(const msgr::Connection& connection) const noexcept {
    return connection_.get() == &connection;
  }
  // Asks for a newer map than the one we have.
  void want_map();
  // Our entry of the map is not what it should be.
  void boot_again();

  // The dispatcher's calls about our connection.
  void on_message(const msgr::InMessage& message);
  void on_reset(std::error_code why);

 private:
  void try_next();
  void arm();
  void on_hello(ConstBytes front);
  void on_map(ConstBytes front);
  void on_boot_reply(ConstBytes front);
  void send_boot();
  void subscribe();
  void send(objecter::MessageType type, std::vector<std::byte> front);
  std::vector<msgr::Address> candidates() const;

  msgr::EventCenter& center_;
  msgr::Messenger& messenger_;
  Host& host_;
  const std::vector<msgr::Address> bootstrap_;
  const std::chrono::nanoseconds retry_interval_;
  msgr::ConnectionRef connection_;
  std::size_t tried_ = 0;      // candidates, over all rounds
  objecter::OsdId peer_ = -1;  // who answered; -1 before its hello
  bool booted_ = false;
  bool stopped_ = false;
  std::string last_problem_;  // logged once
  msgr::TimerId timer_ = msgr::TimerId::kNone;
};

}  // namespace lunar::osd
