// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/posix/posix_stack.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "msgr/posix/socket.h"
#include "msgr/posix/socket_listener.h"

namespace lunar::msgr {
namespace {

std::unique_ptr<Link> make_link(EventCenter& center, BufferPool& buffers,
                                const PosixStackOptions& options, UniqueFd fd) {
  return std::make_unique<StreamLink>(center, make_socket_stream(center, std::move(fd)), buffers,
                                      options.link);
}

// Loop-bound. Owns the socket until it is connected.
class PosixConnect final : public PendingConnect {
 public:
  PosixConnect(EventCenter& center, BufferPool& buffers, const PosixStackOptions& options,
               ConnectDone done)
      : center_(center), buffers_(buffers), options_(options), done_(std::move(done)) {}
  ~PosixConnect() override { *alive_ = false; }

  void start(const Address& peer) {
    const std::error_code error = begin(peer);
    if (!error) return;
    center_.post([this, alive = alive_, error] {
      if (*alive) finish(error);
    });
  }

 private:
  std::error_code begin(const Address& peer) {
    if (peer.is_unset() || peer.port() == 0) {
      return std::make_error_code(std::errc::invalid_argument);
    }
    auto fd = make_tcp_socket(peer, options_);
    if (!fd) return fd.error();
    fd_ = std::move(*fd);
    sockaddr_storage storage;
    const socklen_t length = peer.to_sockaddr(storage);
    // Interrupted, it goes on by itself. Connected at once, the socket is simply writable.
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&storage), length) < 0 &&
        errno != EINPROGRESS && errno != EINTR) {
      return last_system_error();
    }
    auto watch = center_.watch(fd_.get(), FdEvents::kWrite, [this](FdEvents) { connected(); });
    if (!watch) return watch.error();
    watch_ = std::move(*watch);
    return {};
  }

  void connected() {
    std::error_code error = take_socket_error(fd_.get());
    // Nobody listens, but the kernel chose the target as our own port and we reached ourselves.
    if (!error && socket_local_address(fd_.get()) == socket_peer_address(fd_.get())) {
      error = system_error(ECONNREFUSED);
    }
    finish(error);
  }

  void finish(std::error_code error) {
    watch_ = FdWatch();
    ConnectDone done = std::move(done_);
    if (error) {
      fd_.reset();
      done(failure(error));  // may destroy this
    } else {
      done(make_link(center_, buffers_, options_, std::move(fd_)));
    }
  }

  EventCenter& center_;
  BufferPool& buffers_;
  const PosixStackOptions& options_;
  ConnectDone done_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  UniqueFd fd_;
  FdWatch watch_;
};

tl::unexpected<Error> cannot_listen(const Address& local, std::error_code code) {
  std::string message = "cannot listen on " + local.to_string() + ": " + code.message();
  if (code == std::errc::address_in_use) {
    message +=
        "; another program has that port: stop it, or set public_addr to another port "
        "(port 0 takes any free one)";
  } else if (code == std::errc::address_not_available) {
    message += "; no interface of this host has that address: correct public_addr";
  } else if (code == std::errc::permission_denied) {
    message += "; ports below 1024 need privileges: set public_addr to a higher port";
  }
  return failure(code, std::move(message));
}

}  // namespace

PosixStack::PosixStack(PosixStackOptions options)
    : options_(std::move(options)),
      own_buffers_(
          options_.buffers != nullptr
              ? nullptr
              : make_heap_buffer_pool(options_.buffer_budget_bytes, options_.buffer_cached_bytes)),
      buffers_(options_.buffers != nullptr ? *options_.buffers : *own_buffers_) {}

Outcome<std::unique_ptr<PosixStack>> PosixStack::create(PosixStackOptions options) {
  const auto probe = make_tcp_socket(Address::loopback(), options);
  if (!probe) {
    std::string message = "cannot make a TCP socket: " + probe.error().message();
    if (!options.tcp_congestion.empty()) {
      message += "; is the congestion control '" + options.tcp_congestion +
                 "' in /proc/sys/net/ipv4/tcp_allowed_congestion_control?";
    }
    return failure(probe.error(), std::move(message));
  }
  return std::unique_ptr<PosixStack>(new PosixStack(std::move(options)));
}

std::unique_ptr<PendingConnect> PosixStack::connect(EventCenter& center, const Address& peer,
                                                    ConnectDone done) {
  center.assert_in_loop();
  auto pending = std::make_unique<PosixConnect>(center, buffers_, options_, std::move(done));
  pending->start(peer);
  return pending;
}

Outcome<std::unique_ptr<Listener>> PosixStack::listen(EventCenter& center, const Address& local,
                                                      AcceptCallback on_accept) {
  center.assert_in_loop();
  if (local.is_unset()) {
    return failure(std::errc::invalid_argument, "cannot listen: no address was given");
  }
  auto fd = make_tcp_socket(local, options_);
  if (!fd) return cannot_listen(local, fd.error());
  const int on = 1;
  // A server restarted at once gets its port back; ::  does not take the IPv4 port along.
  if (setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
      (local.is_ipv6() && setsockopt(fd->get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0)) {
    return cannot_listen(local, last_system_error());
  }
  sockaddr_storage storage;
  const socklen_t length = local.to_sockaddr(storage);
  if (bind(fd->get(), reinterpret_cast<const sockaddr*>(&storage), length) < 0 ||
      ::listen(fd->get(), options_.backlog) < 0) {
    return cannot_listen(local, last_system_error());
  }
  const Address listening = socket_local_address(fd->get());
  auto listener = make_socket_listener(
      center, std::move(*fd), listening,
      [&center, this, on_accept = std::move(on_accept)](UniqueFd accepted) mutable {
        if (set_stream_options(accepted.get(), options_)) return;
        on_accept(make_link(center, buffers_, options_, std::move(accepted)));
      });
  if (!listener) return cannot_listen(local, listener.error());
  return std::move(*listener);
}

}  // namespace lunar::msgr
