// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/posix/socket_listener.h"

#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <utility>

namespace lunar::msgr {
namespace {

constexpr int kAcceptsPerTurn = 16;
constexpr std::chrono::milliseconds kAcceptRetry{100};

// Loop-bound. Owns the listening socket.
class SocketListener final : public Listener {
 public:
  SocketListener(EventCenter& center, UniqueFd fd, const Address& local,
                 UniqueFunction<void(UniqueFd)> on_accept)
      : center_(center), local_(local), fd_(std::move(fd)), on_accept_(std::move(on_accept)) {}
  ~SocketListener() override {
    *alive_ = false;
    center_.cancel(retry_);
  }
  Address local_address() const override { return local_; }

  std::error_code start() {
    auto watch = center_.watch(fd_.get(), FdEvents::kRead, [this](FdEvents) { accept_some(); });
    if (!watch) return watch.error();
    watch_ = std::move(*watch);
    return {};
  }

 private:
  void accept_some() {
    const std::shared_ptr<bool> alive = alive_;
    for (int i = 0; i < kAcceptsPerTurn; ++i) {
      UniqueFd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) return;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
          return pause();
        }
        continue;  // that connection is already gone (accept(2) lists the network's errors)
      }
      on_accept_(std::move(fd));
      if (!*alive) return;
    }
  }

  // The connection stays in the backlog and the socket readable: look again later, do not spin.
  void pause() {
    watch_.set_events(FdEvents::kNone);
    retry_ = center_.run_after(kAcceptRetry, [this] {
      retry_ = TimerId::kNone;
      watch_.set_events(FdEvents::kRead);
    });
  }

  EventCenter& center_;
  const Address local_;
  UniqueFd fd_;
  UniqueFunction<void(UniqueFd)> on_accept_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  TimerId retry_ = TimerId::kNone;
  FdWatch watch_;
};

}  // namespace

Result<std::unique_ptr<Listener>> make_socket_listener(EventCenter& center, UniqueFd fd,
                                                       const Address& local,
                                                       UniqueFunction<void(UniqueFd)> on_accept) {
  auto listener =
      std::make_unique<SocketListener>(center, std::move(fd), local, std::move(on_accept));
  if (const auto error = listener->start()) return failure(error);
  return std::unique_ptr<Listener>(std::move(listener));
}

}  // namespace lunar::msgr
