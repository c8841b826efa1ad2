// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/inline_function.h"
#include "common/result.h"

namespace lunar {

// One command as it was asked. A value, built by the socket: {"prefix": "config set", "name":
// "debug_ms", "value": "5"}, or plain text, whose words after the command become "args". Values
// that are not strings arrive as their JSON text.
struct AdminRequest {
  std::string prefix;  // the words of the command: "perf dump"
  // Everything else that came with it, by name.
  std::map<std::string, std::string, std::less<>> arguments;

  // The argument, valid as long as this is; null if it was not given.
  const std::string* find(std::string_view name) const;
  // The words of a plain-text request after the command's name.
  std::vector<std::string> words() const;
};

namespace internal {
class AdminReplies;
}

// Answers one command: by exactly one of the calls, once, later or at once, on any thread.
// Move-only. Destroyed unanswered, it answers with an error, so that nobody waits for ever. Can
// outlive the AdminSocket: an answer that comes too late is dropped.
class AdminReply {
 public:
  // By the socket. `client` is its number for the connection that asked.
  AdminReply(std::shared_ptr<internal::AdminReplies> replies, uint64_t client) noexcept;
  // The one that was moved from answers nothing any more.
  AdminReply(AdminReply&& other) noexcept;
  AdminReply& operator=(AdminReply&& other) noexcept;
  ~AdminReply();

  // JSON, or text for a person. Less than 4 GiB.
  void send(std::string text);
  // The command failed. Arrives as {"error": {"code", "message"}}; `message` is one sentence, which
  // names the thing and says what to do about it.
  void fail(std::error_code code, const std::string& message);
  void fail(const Error& error) { fail(error.code, error.message); }

 private:
  void abandon();  // answers with an error unless it was answered or moved from
  std::shared_ptr<internal::AdminReplies> replies_;
  uint64_t client_ = 0;
};

// Serves commands on a unix socket (mode 0600), in Ceph's protocol: one line or a NUL-terminated
// request, answered by a 32-bit big-endian length and that many bytes; then the connection is
// closed. At most 16 connections are served at a time; a client that is slow for too long is cut
// off. Thread-safe. Owns one thread (all signals blocked), which the destructor joins.
class AdminSocket {
 public:
  // Listens on `path`, and makes nothing but the socket: its folder has to be there. The socket of
  // a dead process is replaced; one that answers is an error. Errors explain themselves. `mode` is
  // that of the file: who may write to it may send commands.
  static Outcome<std::unique_ptr<AdminSocket>> create(const std::string& path, mode_t mode = 0600);
  ~AdminSocket();  // removes the file
  AdminSocket(const AdminSocket&) = delete;
  AdminSocket& operator=(const AdminSocket&) = delete;

  const std::string& path() const noexcept;  // as given

  // Takes the command away when it is destroyed, which waits for a handler in progress: it must not
  // be destroyed in its own handler. Move-only. Can be destroyed after the socket.
  class ServedCommand;
  // Runs on the socket's own thread and must not block: what belongs to a loop is posted there with
  // the reply. REQUIRES: no other handler has this prefix.
  using Handler = InlineFunction<void(const AdminRequest&, AdminReply)>;
  // Serves `prefix` from now on, as long as what is returned lives; at most one handler runs at a
  // time. `help` is a full clause: what the command does. The commands help and version are there
  // from the start; add_standard_commands() adds those that every program has.
  [[nodiscard]] ServedCommand add(std::string prefix, std::string help, Handler handler);

 private:
  struct Impl;
  explicit AdminSocket(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with the ServedCommands, which hold it weakly
};

// Made by add(). Empty when default-constructed or moved from.
class AdminSocket::ServedCommand {
 public:
  ServedCommand() noexcept = default;
  ServedCommand(ServedCommand&&) noexcept = default;
  ServedCommand& operator=(ServedCommand&& other) noexcept;
  ~ServedCommand();

 private:
  friend class AdminSocket;
  ServedCommand(std::weak_ptr<Impl> impl, std::string prefix);
  void end();  // takes it away
  std::weak_ptr<Impl> impl_;
  std::string prefix_;  // as given to add()
};

// For tools: sends one request and waits up to `timeout` for the whole answer. Blocking. A command
// that fails at the other side is an Error with its sentence; so is a socket at which nobody
// listens. `request` is JSON or plain text.
Outcome<std::string> admin_socket_request(
    const std::string& path, std::string_view request,
    std::chrono::milliseconds timeout = std::chrono::seconds(10));

}  // namespace lunar
