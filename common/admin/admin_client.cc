// SPDX-License-Identifier: LGPL-2.1-or-later
#include <poll.h>
#include <sys/socket.h>

#include <boost/endian/conversion.hpp>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "common/admin/unix_socket.h"
#include "common/admin_socket.h"
#include "common/json.h"

namespace lunar {
namespace {

using Deadline = std::chrono::steady_clock::time_point;

constexpr std::size_t kMaxAnswerBytes = 256u << 20;
constexpr JsonBounds kErrorBounds{1 << 20};

tl::unexpected<Error> no_answer(const std::string& path) {
  return failure(std::errc::timed_out, path + ": the program does not answer in time");
}

Outcome<void> send_all(const std::string& path, int fd, std::string_view text, Deadline deadline) {
  while (!text.empty()) {
    const ssize_t sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      text.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!wait_ready(fd, POLLOUT, deadline)) return no_answer(path);
    } else if (errno != EINTR) {
      return failure(file_error(path, "cannot send", last_system_error()));
    }
  }
  return {};
}

Outcome<std::string> receive(const std::string& path, int fd, std::size_t size, Deadline deadline) {
  std::string text(size, '\0');
  std::size_t used = 0;
  while (used < size) {
    const ssize_t got = ::recv(fd, text.data() + used, size - used, 0);
    if (got > 0) {
      used += static_cast<std::size_t>(got);
    } else if (got == 0) {
      return failure(std::errc::connection_aborted,
                     path + ": closed before the answer was complete");
    } else if (errno == EAGAIN) {
      if (!wait_ready(fd, POLLIN, deadline)) return no_answer(path);
    } else if (errno != EINTR) {
      return failure(file_error(path, "cannot receive", last_system_error()));
    }
  }
  return text;
}

// A failed command's answer as the Error it was.
Outcome<std::string> unpack(std::string text) {
  if (!text.starts_with("{\"error\":{")) return text;
  const auto json = parse_json<nlohmann::json>(text, kErrorBounds);
  if (!json || json->size() != 1) return text;
  const auto& error = json->at("error");
  if (!error.contains("message") || !error["message"].is_string() || !error.contains("code") ||
      !error["code"].is_number_integer() || !error.contains("category") ||
      !error["category"].is_string()) {
    return text;
  }
  // A code of another category would lose its meaning here; the sentence is what counts.
  const std::string category = error["category"].get<std::string>();
  const bool is_system = category == "system" || category == "generic";
  return failure(is_system ? system_error(error["code"].get<int>())
                           : std::make_error_code(std::errc::io_error),
                 error["message"].get<std::string>());
}

}  // namespace

Outcome<std::string> admin_socket_request(const std::string& path, std::string_view request,
                                          std::chrono::milliseconds timeout) {
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  const auto fd = connect_unix(path, timeout);
  if (!fd) return failure(fd.error());
  std::string line(request);
  for (char& c : line) {
    if (c == '\n' || c == '\0') c = ' ';  // they would end the request
  }
  line += '\n';
  if (auto sent = send_all(path, fd->get(), line, deadline); !sent) {
    return failure(sent.error());
  }
  const auto header = receive(path, fd->get(), sizeof(uint32_t), deadline);
  if (!header) return header;
  uint32_t size = 0;
  std::memcpy(&size, header->data(), sizeof size);
  boost::endian::big_to_native_inplace(size);
  if (size > kMaxAnswerBytes) {
    return failure(std::errc::message_size,
                   path + ": not an admin socket of ours, or a broken one");
  }
  auto answer = receive(path, fd->get(), size, deadline);
  if (!answer) return answer;
  return unpack(*std::move(answer));
}

}  // namespace lunar
