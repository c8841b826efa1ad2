// SPDX-License-Identifier: LGPL-2.1-or-later
// One thread: poll() over the listening socket, the eventfd of finished answers and a few clients.
// A client sends one request, waits, and is sent one answer; each step has a limit in bytes and
// time, except that a handler may take as long as it likes to answer.

#include "common/admin_socket.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <cerrno>
#include <cstring>
#include <list>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>
#include <vector>

#include "common/admin/admin_replies.h"
#include "common/admin/unix_socket.h"
#include "common/check.h"
#include "common/json.h"
#include "common/mutex.h"
#include "common/program.h"
#include "common/signals.h"

namespace lunar {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxRequestBytes = 64 * 1024;
constexpr std::size_t kMaxClients = 16;
constexpr auto kClientTimeout = std::chrono::seconds(10);

struct SocketClient {
  enum class Step { kReading, kWaiting, kWriting };

  UniqueFd fd;
  uint64_t id = 0;
  Step step = Step::kReading;
  std::string buffer;    // the request as it comes, later the answer
  std::size_t sent = 0;  // of the answer
  Clock::time_point deadline;
};

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\r') {
      if (!word.empty()) words.push_back(std::exchange(word, {}));
    } else {
      word += c;
    }
  }
  if (!word.empty()) words.push_back(word);
  return words;
}

// A JSON value as text: strings as they are, lists of strings joined by spaces (Ceph sends values
// so).
std::string text_of(const nlohmann::json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_array()) {
    std::string joined;
    for (const auto& item : json) joined += (joined.empty() ? "" : " ") + text_of(item);
    return joined;
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Outcome<AdminRequest> parse_object(std::string_view line) {
  const auto parsed = parse_json<nlohmann::json>(line, {kMaxRequestBytes, 8, 64});
  constexpr const char* kExpected =
      "expected a JSON object with a \"prefix\", such as {\"prefix\": \"help\"}";
  if (!parsed)
    return failure(parsed.error().code,
                   std::string(kExpected) + "; this " + parsed.error().message);
  const auto& json = *parsed;
  if (!json.is_object() || !json.contains("prefix") || !json["prefix"].is_string())
    return failure(std::errc::invalid_argument, kExpected);
  AdminRequest request;
  for (const auto& [key, value] : json.items()) {
    if (key == "prefix") {
      request.prefix = value.get<std::string>();
    } else {
      request.arguments[key] = text_of(value);
    }
  }
  return request;
}

}  // namespace

const std::string* AdminRequest::find(std::string_view name) const {
  const auto found = arguments.find(name);
  return found == arguments.end() ? nullptr : &found->second;
}

std::vector<std::string> AdminRequest::words() const {
  const std::string* args = find("args");
  return args == nullptr ? std::vector<std::string>{} : split_words(*args);
}

struct AdminSocket::Impl {
  struct Entry {
    std::string help;
    Handler handler;
  };

  std::string path;
  UniqueFd listener;
  dev_t device = 0;  // of the socket's file, so that only our own is removed
  ino_t inode = 0;
  std::shared_ptr<internal::AdminReplies> replies;
  std::thread thread;
  std::list<SocketClient> clients;  // the thread's alone, as is what follows
  uint64_t next_client = 1;

  Mutex mutex;  // held while a handler runs
  std::map<std::string, Entry, std::less<>> commands GUARDED_BY(mutex);

  void run();
  void accept_clients();
  void serve(SocketClient& client);
  void read_request(SocketClient& client);
  void write_answer(SocketClient& client);
  void answer(SocketClient& client, const std::string& text);
  void dispatch(SocketClient& client, std::string_view line);
  void drop_closed();
  int poll_timeout() const;
  AdminRequest parse_words(std::string_view line) REQUIRES(mutex);
  std::string help() REQUIRES(mutex);
};

void AdminSocket::Impl::run() {
  name_this_thread("lunar-admin");
  std::vector<pollfd> polled;
  while (!replies->is_stopped()) {
    polled.clear();
    polled.push_back({replies->fd(), POLLIN, 0});
    // Above kMaxClients the next wait in the backlog: poll ignores a negative fd.
    polled.push_back({clients.size() < kMaxClients ? listener.get() : -1, POLLIN, 0});
    for (const SocketClient& client : clients) {
      const short events = client.step == SocketClient::Step::kReading ? POLLIN
                           : client.step == SocketClient::Step::kWriting
                               ? POLLOUT
                               : 0;  // errors and hang-ups only
      polled.push_back({client.fd.get(), events, 0});
    }
    if (::poll(polled.data(), polled.size(), poll_timeout()) < 0) continue;  // EINTR

    std::size_t i = 2;
    for (SocketClient& client : clients) {
      if (polled[i++].revents != 0) serve(client);
    }
    for (auto& finished : replies->take()) {
      const auto client = std::ranges::find(clients, finished.client, &SocketClient::id);
      if (client != clients.end() && client->fd) answer(*client, finished.text);
    }
    drop_closed();
    if (polled[1].revents != 0) accept_clients();
  }
}

int AdminSocket::Impl::poll_timeout() const {
  auto nearest = Clock::time_point::max();
  for (const SocketClient& client : clients) {
    if (client.step != SocketClient::Step::kWaiting) nearest = std::min(nearest, client.deadline);
  }
  if (nearest == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(nearest - Clock::now());
  return static_cast<int>(std::max<int64_t>(0, left.count()));
}

void AdminSocket::Impl::drop_closed() {
  const auto now = Clock::now();
  clients.remove_if([now](const SocketClient& client) {
    return !client.fd || (client.step != SocketClient::Step::kWaiting && client.deadline <= now);
  });
}

void AdminSocket::Impl::accept_clients() {
  while (clients.size() < kMaxClients) {
    UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    clients.push_back({.fd = std::move(fd),
                       .id = next_client++,
                       .step = SocketClient::Step::kReading,
                       .buffer = {},
                       .sent = 0,
                       .deadline = Clock::now() + kClientTimeout});
  }
}

void AdminSocket::Impl::serve(SocketClient& client) {
  switch (client.step) {
    case SocketClient::Step::kReading:
      return read_request(client);
    case SocketClient::Step::kWriting:
      return write_answer(client);
    case SocketClient::Step::kWaiting:
      return client.fd.reset();  // it hung up
  }
}

void AdminSocket::Impl::read_request(SocketClient& client) {
  for (;;) {
    char received[4096];
    const ssize_t got = ::recv(client.fd.get(), received, sizeof received, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) return client.fd.reset();
    client.buffer.append(received, static_cast<std::size_t>(got));
    const auto end = client.buffer.find_first_of(std::string_view("\n\0", 2));
    if (end != std::string::npos || (got == 0 && !client.buffer.empty())) {
      const std::string line = client.buffer.substr(0, end);
      client.buffer.clear();
      client.step = SocketClient::Step::kWaiting;
      return dispatch(client, line);
    }
    if (got == 0) return client.fd.reset();
    if (client.buffer.size() > kMaxRequestBytes) {
      return answer(client,
                    internal::admin_error_text(
                        std::make_error_code(std::errc::message_size),
                        "a request has at most " + std::to_string(kMaxRequestBytes) + " bytes"));
    }
  }
}

void AdminSocket::Impl::answer(SocketClient& client, const std::string& text) {
  const auto size = boost::endian::native_to_big(static_cast<uint32_t>(text.size()));
  client.buffer.assign(reinterpret_cast<const char*>(&size), sizeof size);
  client.buffer += text;
  client.step = SocketClient::Step::kWriting;
  client.deadline = Clock::now() + kClientTimeout;
  write_answer(client);
}

void AdminSocket::Impl::write_answer(SocketClient& client) {
  while (client.sent < client.buffer.size()) {
    const ssize_t sent = ::send(client.fd.get(), client.buffer.data() + client.sent,
                                client.buffer.size() - client.sent, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) return client.fd.reset();
    client.sent += static_cast<std::size_t>(sent);
    client.deadline = Clock::now() + kClientTimeout;
  }
  client.fd.reset();
}

// The longest command whose words start the line; what follows are its arguments.
AdminRequest AdminSocket::Impl::parse_words(std::string_view line) {
  const std::vector<std::string> words = split_words(line);
  std::string prefix;
  AdminRequest request;
  for (std::size_t i = 0; i < words.size(); ++i) {
    prefix += (i == 0 ? "" : " ") + words[i];
    if (commands.contains(prefix)) {
      request.prefix = prefix;
      request.arguments["args"].clear();
    } else if (!request.prefix.empty()) {
      std::string& args = request.arguments["args"];
      args += (args.empty() ? "" : " ") + words[i];
    }
  }
  if (request.prefix.empty()) request.prefix = prefix;
  return request;
}

std::string AdminSocket::Impl::help() {
  nlohmann::ordered_json all = nlohmann::ordered_json::object();
  for (const auto& [prefix, entry] : commands) all[prefix] = entry.help;
  return json_text(all);
}

void AdminSocket::Impl::dispatch(SocketClient& client, std::string_view line) {
  AdminReply reply(replies, client.id);
  MutexLock lock(mutex);
  AdminRequest request;
  if (line.find('{') == line.find_first_not_of(" \t\r")) {
    auto parsed = parse_object(line);
    if (!parsed) return reply.fail(parsed.error());
    request = *std::move(parsed);
  } else {
    request = parse_words(line);
  }
  if (request.prefix == "help") return reply.send(help());
  const auto found = commands.find(request.prefix);
  if (found == commands.end()) {
    return reply.fail(std::make_error_code(std::errc::invalid_argument),
                      "unknown command '" + request.prefix + "'; 'help' lists what there is");
  }
  found->second.handler(request, std::move(reply));
}

Outcome<std::unique_ptr<AdminSocket>> AdminSocket::create(const std::string& path, mode_t mode) {
  auto impl = std::make_shared<Impl>();
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return failure(file_error(path, "no eventfd", last_system_error()));
  impl->replies = std::make_shared<internal::AdminReplies>(std::move(wake));
  auto listener = listen_unix(path, mode);
  if (!listener) {
    return failure(listener.error().code, "admin socket " + listener.error().message);
  }
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0) {
    impl->device = status.st_dev;
    impl->inode = status.st_ino;
  }
  impl->path = path;
  impl->listener = *std::move(listener);
  {
    MutexLock lock(impl->mutex);
    impl->commands["help"] = {"lists the commands", {}};
    impl->commands["version"] = {"version of the program",
                                 [](const AdminRequest&, AdminReply reply) {
                                   reply.send("{\"version\": \"" + std::string(version()) + "\"}");
                                 }};
  }
  const BlockAllSignals blocked;
  try {
    impl->thread = std::thread([raw = impl.get()] { raw->run(); });
  } catch (const std::system_error& error) {
    ::unlink(path.c_str());
    return failure(error.code(), "admin socket " + path + ": no thread: " + error.what());
  }
  return std::unique_ptr<AdminSocket>(new AdminSocket(std::move(impl)));
}

AdminSocket::AdminSocket(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

AdminSocket::~AdminSocket() {
  impl_->replies->stop();
  impl_->thread.join();
  struct stat status {};
  if (::lstat(impl_->path.c_str(), &status) == 0 && status.st_dev == impl_->device &&
      status.st_ino == impl_->inode) {
    ::unlink(impl_->path.c_str());
  }
}

const std::string& AdminSocket::path() const noexcept { return impl_->path; }

AdminSocket::ServedCommand AdminSocket::add(std::string prefix, std::string help, Handler handler) {
  MutexLock lock(impl_->mutex);
  const auto [at, is_new] =
      impl_->commands.try_emplace(prefix, Impl::Entry{std::move(help), std::move(handler)});
  LUNAR_CHECK(is_new, at->first.c_str());
  return {impl_, std::move(prefix)};
}

AdminSocket::ServedCommand::ServedCommand(std::weak_ptr<Impl> impl, std::string prefix)
    : impl_(std::move(impl)), prefix_(std::move(prefix)) {}

AdminSocket::ServedCommand& AdminSocket::ServedCommand::operator=(ServedCommand&& other) noexcept {
  if (this != &other) {
    end();
    impl_ = std::move(other.impl_);
    prefix_ = std::move(other.prefix_);
  }
  return *this;
}

AdminSocket::ServedCommand::~ServedCommand() { end(); }

void AdminSocket::ServedCommand::end() {
  const auto impl = std::exchange(impl_, {}).lock();
  if (!impl) return;
  MutexLock lock(impl->mutex);
  impl->commands.erase(prefix_);
}

}  // namespace lunar
