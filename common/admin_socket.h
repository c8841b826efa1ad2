// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

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

class Config;
class PerfRegistry;

// One command as it was asked: {"prefix": "config set", "name": "debug_ms", "value": "5"}, or plain
// text, whose words after the command become "args". Values that are not strings arrive as their
// JSON text.
struct AdminRequest {
  std::string prefix;
  std::map<std::string, std::string, std::less<>> arguments;

  // Null if absent.
  const std::string* find(std::string_view name) const;
  // The words of a plain-text request after the command's name.
  std::vector<std::string> words() const;
};

namespace internal {
class AdminReplies;
}

// Answers one command: exactly one of the calls, once, later or now, on any thread. Move-only. One
// that is destroyed unanswered answers with an error. May outlive the AdminSocket.
class AdminReply {
 public:
  AdminReply(std::shared_ptr<internal::AdminReplies> replies, uint64_t client) noexcept;
  AdminReply(AdminReply&& other) noexcept;
  AdminReply& operator=(AdminReply&& other) noexcept;
  ~AdminReply();

  void send(std::string text);  // JSON, or text for a person
  void fail(std::error_code code, const std::string& message);
  void fail(const Error& error) { fail(error.code, error.message); }

 private:
  void abandon();
  std::shared_ptr<internal::AdminReplies> replies_;
  uint64_t client_ = 0;
};

// Serves commands on a unix socket (mode 0600), in Ceph's protocol: one line or a NUL-terminated
// request, answered by a 32-bit big-endian length and that many bytes; then the connection is
// closed. Thread-safe. Owns one thread (all signals blocked), which is joined by the destructor.
class AdminSocket {
 public:
  // Listens on `path`. The socket of a dead process is replaced; one that answers is an error.
  static Outcome<std::unique_ptr<AdminSocket>> create(const std::string& path);
  ~AdminSocket();  // removes the file
  AdminSocket(const AdminSocket&) = delete;
  AdminSocket& operator=(const AdminSocket&) = delete;

  const std::string& path() const noexcept;

  // Takes the command away when destroyed, which waits for a handler in progress. May be destroyed
  // after the socket.
  class Command;
  // Runs on the socket's own thread and must not block: what belongs to a loop is posted there with
  // the reply. REQUIRES: no other handler has this prefix.
  using Handler = InlineFunction<void(const AdminRequest&, AdminReply)>;
  [[nodiscard]] Command add(std::string prefix, std::string help, Handler handler);

  // help and version are there from the start. This adds config show|get|set|diff, perf
  // dump|schema| histogram dump|prometheus, log dump|reopen. Both must outlive the socket.
  void add_standard_commands(Config& config, PerfRegistry& perf);

 private:
  struct Impl;
  explicit AdminSocket(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
  std::vector<Command> standard_commands_;
};

class AdminSocket::Command {
 public:
  Command() noexcept = default;
  Command(Command&&) noexcept = default;
  Command& operator=(Command&& other) noexcept;
  ~Command();

 private:
  friend class AdminSocket;
  Command(std::weak_ptr<Impl> impl, std::string prefix);
  void end();
  std::weak_ptr<Impl> impl_;
  std::string prefix_;
};

// For tools: sends one request and waits for the answer. A command that fails at the other side is
// an Error with its sentence; so is nobody listening. `request` is JSON or plain text.
Outcome<std::string> admin_socket_request(
    const std::string& path, std::string_view request,
    std::chrono::milliseconds timeout = std::chrono::seconds(10));

}  // namespace lunar
