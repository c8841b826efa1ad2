// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "common/perf_counters.h"
#include "msgr/local/local_counters.h"
#include "msgr/local/local_stream.h"
#include "msgr/local/shared_arena.h"
#include "msgr/net/network_stack.h"
#include "msgr/posix/posix_stack.h"

namespace lunar::msgr::local {

struct LocalOptions {
  std::string run_dir;                       // where the sockets are; of both ends
  std::size_t front_end_bytes = 256u << 20;  // budget of front_end_buffers()
};

// Processes of one host that share memory, and TCP for all others. A listener listens on a TCP
// port and on a Unix socket that is named for its address, in a folder in which only those can make
// one who are trusted to serve; a connect takes the socket if somebody listens there, else TCP.
// Thread-safe. Owns its buffers and the TCP stack.
class LocalStack final : public NetworkStack {
 public:
  static Outcome<std::unique_ptr<LocalStack>> create(LocalOptions options, PosixStackOptions posix,
                                                     PerfRegistry* perf);

  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override;
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override;
  bool supports_one_sided() const noexcept override { return true; }
  BufferPool& buffers() noexcept override { return posix_->buffers(); }
  BufferPool& front_end_buffers() noexcept override { return arena_; }

  // The socket of a listener. Pure.
  static std::string socket_path(const std::string& run_dir, const Address& listening);

 private:
  LocalStack(LocalOptions options, std::unique_ptr<PosixStack> posix, PerfRegistry* perf);
  Result<UniqueFd> try_connect(const Address& peer) const;
  std::unique_ptr<Link> make_link(EventCenter& center, UniqueFd fd, const EndAddresses& addresses);

  const LocalOptions options_;
  const std::unique_ptr<PosixStack> posix_;
  LocalCounters counters_;
  SharedArena arena_;
};

}  // namespace lunar::msgr::local
