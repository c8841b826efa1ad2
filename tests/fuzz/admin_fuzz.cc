// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Requests to an admin socket, over a real one: bytes, of which the first line or what stands
// before the first NUL is a request, in JSON or plain text. Whatever is answered, the connection
// ends in time, and the socket serves whoever comes next.

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/admin/unix_socket.h"
#include "common/admin_commands.h"
#include "common/admin_socket.h"
#include "common/check.h"
#include "common/config.h"
#include "common/perf_counters.h"
#include "tests/fuzz/fuzz.h"

namespace lunar::fuzz {
namespace {

using namespace std::chrono_literals;

// With the commands that every program has. One for the whole run.
class ServedSocket {
 public:
  ServedSocket() {
    LUNAR_CHECK(::mkdtemp(folder_.data()) != nullptr, "a folder for the socket");
    config_.freeze();
    auto made = AdminSocket::create(path());
    LUNAR_CHECK(made.has_value(), "an admin socket");
    socket_ = std::move(*made);
    commands_ = add_standard_commands(*socket_, config_, perf_);
  }
  ~ServedSocket() {
    commands_.clear();
    socket_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  std::string path() const { return folder_ + "/socket"; }

 private:
  std::string folder_ = (std::filesystem::temp_directory_path() / "lunar-fuzz-XXXXXX").string();
  Config config_;
  PerfRegistry perf_;
  std::unique_ptr<AdminSocket> socket_;
  std::vector<AdminSocket::ServedCommand> commands_;
};

const ServedSocket& served() {
  static const ServedSocket socket;
  return socket;
}

}  // namespace

std::vector<std::vector<std::byte>> seeds() {
  std::vector<std::vector<std::byte>> out;
  for (const std::string_view text :
       {"help\n", "perf dump\n", "config get debug_ms\n", "config set debug_ms 5/5\n", "version",
        R"({"prefix": "config set", "name": "debug_ms", "value": "1/5"})",
        R"({"prefix": "config get", "var": ["debug_ms", "x"]})",
        R"({"prefix": "perf dump", "format": "json", "nested": {"a": [1, null, true]}})"}) {
    const ConstBytes bytes = as_const_bytes(text);
    out.emplace_back(bytes.begin(), bytes.end());
  }
  return out;
}

void run_one(ConstBytes input) {
  const auto fd = connect_unix(served().path(), 10s);
  LUNAR_CHECK(fd.has_value(), "nobody listens any more");
  std::size_t sent = 0;
  while (sent < input.size()) {
    const ssize_t n = ::send(fd->get(), input.data() + sent, input.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) break;  // it has its request, and wants no more
    sent += static_cast<std::size_t>(n);
  }
  ::shutdown(fd->get(), SHUT_WR);
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  char answer[4096];
  for (;;) {
    const ssize_t n = ::recv(fd->get(), answer, sizeof answer, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) break;
    if (n < 0) LUNAR_CHECK(wait_ready(fd->get(), POLLIN, deadline), "no answer, and no end");
  }
}

}  // namespace lunar::fuzz
