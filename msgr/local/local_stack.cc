// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/local/local_stack.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>

#include "common/log.h"
#include "msgr/local/local_link.h"
#include "msgr/posix/socket_listener.h"

namespace lunar::msgr::local {
namespace {

// The socket's own name, empty if it has none.
using SocketNameCall = int (*)(int, sockaddr*, socklen_t*);

// The connecting end has a name that the kernel chose (unix(7), autobind: a zero and five
// hexadecimal digits). Both ends know it, and make a port of it.
Address connector_address(const Address& listening, int fd, SocketNameCall call) {
  sockaddr_un name{};
  socklen_t length = sizeof name;
  uint32_t number = 0;
  constexpr socklen_t kNamed = offsetof(sockaddr_un, sun_path) + 1 + 5;
  if (call(fd, reinterpret_cast<sockaddr*>(&name), &length) == 0 && length == kNamed) {
    std::from_chars(name.sun_path + 1, name.sun_path + 6, number, 16);
  }
  const auto port = static_cast<uint16_t>(number % 65535 + 1);
  if (!listening.is_ipv6()) return Address::loopback(port);
  std::array<uint8_t, 16> raw{};
  raw.back() = 1;
  return Address::from_raw(Address::Family::kIpv6, raw, port);
}

// As much as the kernel lets us have: its default is less than one large frame.
void widen(int fd) {
  constexpr int kSendBytes = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSendBytes, sizeof kSendBytes);
}

Result<UniqueFd> make_unix_socket() {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return failure(last_system_error());
  let_descriptors_pass(fd.get(), false);
  return fd;
}

bool fill_name(sockaddr_un& name, const std::string& path) {
  name = {};
  name.sun_family = AF_UNIX;
  if (path.size() >= sizeof name.sun_path) return false;
  std::memcpy(name.sun_path, path.data(), path.size());
  return true;
}

// Neither waits: it succeeds at once or not at all.
Result<UniqueFd> connect_to(const std::string& path) {
  sockaddr_un name;
  if (!fill_name(name, path)) return failure(std::make_error_code(std::errc::filename_too_long));
  auto fd = make_unix_socket();
  if (!fd) return fd;
  const sockaddr_un any{AF_UNIX, {}};
  if (bind(fd->get(), reinterpret_cast<const sockaddr*>(&any), sizeof any.sun_family) < 0 ||
      ::connect(fd->get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) < 0) {
    return failure(last_system_error());
  }
  widen(fd->get());
  return fd;
}

// Whether a server that listens on all addresses of this host is reached by that one: it is one of
// an interface's. That one can bind to it says less (net.ipv4.ip_nonlocal_bind).
bool is_of_this_host(const Address& address) {
  if (address.is_loopback()) return true;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) < 0) return false;
  bool is_found = false;
  for (const ifaddrs* each = all; each != nullptr && !is_found; each = each->ifa_next) {
    if (each->ifa_addr == nullptr) continue;
    Address own = Address::from_sockaddr(each->ifa_addr);
    own.set_port(address.port());
    is_found = own == address;
  }
  freeifaddrs(all);
  return is_found;
}

// The socket is ours to replace: we have its TCP port, so whoever made it has ended.
Result<UniqueFd> listen_at(const std::string& path) {
  sockaddr_un name;
  if (!fill_name(name, path)) return failure(std::make_error_code(std::errc::filename_too_long));
  auto fd = make_unix_socket();
  if (!fd) return fd;
  constexpr int kBacklog = 512;
  if ((unlink(path.c_str()) < 0 && errno != ENOENT) ||
      bind(fd->get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) < 0 ||
      chmod(path.c_str(), 0660) < 0 ||  // others have TCP, by which no descriptors come
      ::listen(fd->get(), kBacklog) < 0) {
    return failure(last_system_error());
  }
  return fd;
}

// Loop-bound. Owns both listeners; removes the socket while it still has the port.
struct LocalListener final : Listener {
  ~LocalListener() override {
    if (unix_socket != nullptr) unlink(path.c_str());
  }
  Address local_address() const override { return tcp->local_address(); }

  std::shared_ptr<AcceptCallback> accept;
  std::unique_ptr<Listener> tcp;
  std::unique_ptr<Listener> unix_socket;  // null if there is none
  std::string path;
};

// A connect that is already there, and is only to be told.
class MadeConnect final : public PendingConnect {
 public:
  MadeConnect(EventCenter& center, std::unique_ptr<Link> link, ConnectDone done)
      : link_(std::move(link)), done_(std::move(done)) {
    center.post([this, alive = alive_] {
      if (!*alive) return;
      ConnectDone tell = std::move(done_);
      tell(std::move(link_));  // may destroy this
    });
  }
  ~MadeConnect() override { *alive_ = false; }

 private:
  std::unique_ptr<Link> link_;
  ConnectDone done_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

LocalStack::LocalStack(LocalOptions options, std::unique_ptr<PosixStack> posix, PerfRegistry* perf)
    : options_(std::move(options)),
      posix_(std::move(posix)),
      counters_(perf),
      arena_(options_.front_end_bytes) {}

Outcome<std::unique_ptr<LocalStack>> LocalStack::create(LocalOptions options,
                                                        PosixStackOptions posix,
                                                        PerfRegistry* perf) {
  auto tcp = PosixStack::create(std::move(posix));
  if (!tcp) return failure(std::move(tcp.error()));
  return std::unique_ptr<LocalStack>(new LocalStack(std::move(options), std::move(*tcp), perf));
}

std::string LocalStack::socket_path(const std::string& run_dir, const Address& listening) {
  return run_dir + "/lunar-msgr-" + listening.to_string() + ".sock";
}

std::unique_ptr<Link> LocalStack::make_link(EventCenter& center, UniqueFd fd,
                                            const EndAddresses& addresses) {
  counters_.links_local.add_shared();
  return std::make_unique<LocalLink>(center, std::move(fd), addresses, posix_->options().link,
                                     buffers(), arena_, counters_);
}

Result<UniqueFd> LocalStack::try_connect(const Address& peer) const {
  auto fd = connect_to(socket_path(options_.run_dir, peer));
  if (fd) return fd;
  const bool is_nobody_there =
      fd.error() == std::errc::no_such_file_or_directory ||
      fd.error() == std::errc::connection_refused;  // left by a dead server
  if (!is_nobody_there || !is_of_this_host(peer)) return fd;
  const Address wildcard = Address::from_raw(peer.family(), {}, peer.port());
  return connect_to(socket_path(options_.run_dir, wildcard));
}

std::unique_ptr<PendingConnect> LocalStack::connect(EventCenter& center, const Address& peer,
                                                    ConnectDone done) {
  center.assert_in_loop();
  if (auto fd = try_connect(peer)) {
    const EndAddresses addresses{connector_address(peer, fd->get(), getsockname), peer};
    return std::make_unique<MadeConnect>(center, make_link(center, std::move(*fd), addresses),
                                         std::move(done));
  } else {
    LUNAR_LOG(kMs, 2, "link with {} is TCP: {}: {}", peer.to_string(),
              socket_path(options_.run_dir, peer), fd.error().message());
  }
  return posix_->connect(
      center, peer, [this, done = std::move(done)](Result<std::unique_ptr<Link>> link) mutable {
        if (link) counters_.links_tcp.add_shared();
        ConnectDone tell = std::move(done);
        tell(std::move(link));  // may destroy this
      });
}

Outcome<std::unique_ptr<Listener>> LocalStack::listen(EventCenter& center, const Address& local,
                                                      AcceptCallback on_accept) {
  auto both = std::make_unique<LocalListener>();
  both->accept = std::make_shared<AcceptCallback>(std::move(on_accept));
  auto tcp =
      posix_->listen(center, local, [accept = both->accept, this](std::unique_ptr<Link> link) {
        counters_.links_tcp.add_shared();
        const auto kept = accept;  // it may destroy the listener
        (*kept)(std::move(link));
      });
  if (!tcp) return tcp;
  both->tcp = std::move(*tcp);
  const Address listening = both->tcp->local_address();
  both->path = socket_path(options_.run_dir, listening);
  auto fd = listen_at(both->path);
  if (!fd) {
    return failure(fd.error(), both->path +
                                   ": cannot listen there, as ms_type = async+local asks: " +
                                   fd.error().message() +
                                   "; make that folder (run_dir) writable and its path short, or "
                                   "set ms_type = async+posix");
  }
  auto accepting = make_socket_listener(
      center, std::move(*fd), listening,
      [accept = both->accept, this, &center, listening](UniqueFd accepted) {
        widen(accepted.get());
        const EndAddresses addresses{listening,
                                     connector_address(listening, accepted.get(), getpeername)};
        const auto kept = accept;
        (*kept)(make_link(center, std::move(accepted), addresses));
      });
  if (!accepting) return failure(accepting.error(), "cannot watch " + both->path);
  both->unix_socket = std::move(*accepting);
  return std::unique_ptr<Listener>(std::move(both));
}

}  // namespace lunar::msgr::local
